#pragma once

#include <array>
#include <cstdint>

#include "backend/input_sink.h"
#include "base/log.h"
#include "device/input/i8042_registers.h"
#include "device/input/ps2_keyboard.h"
#include "device/input/ps2_mouse.h"
#include "io/io_handler.h"
#include "irq/interrupt.h"
#include "snapshot/device.h"

namespace cupule::device {

/// The pin of the keyboard controller that resets the processor.
class ResetLine {
  public:
    virtual ~ResetLine() = default;
    /// Notes that the guest wants a reset; it happens after the access that asked. Called with the
    /// device's monitor held.
    virtual void pulse_reset() = 0;
};

/// Intel 8042 keyboard controller of a PS/2, with keyboard and mouse plugged in.
/// Document: IBM PS/2 Hardware Interface Technical Reference, Keyboard and Auxiliary Device
/// Controller (Type 1), 1990; bit names after the UPI-41/42 user's manual.
///
/// Models: ports 60h and 64h, the commands of i8042_registers.h, controller RAM with the command
/// byte, translation of set 2 to set 1, one output buffer for controller, keyboard and mouse.
/// Leaves out: passwords, the test inputs (C1h, C2h, E0h), time-outs and parity errors. A20 is a
/// stored bit: addresses are never masked.
/// Differs on purpose: there is no processor with a program inside, so no command takes time and
/// the input buffer is never seen full. After power-on the command byte is 65h, as firmware leaves
/// it: translation on, keyboard on with its interrupt, mouse off.
///
/// IRQ 1 and IRQ 12 are the level of "output buffer full" for their device. The line falls between
/// two bytes, so an edge-triggered ISA input sees an edge for each byte.
class I8042 : public snapshot::Device, public backend::KeyboardSink, public backend::PointerSink {
  public:
    I8042(irq::LevelLine& keyboard_irq, irq::LevelLine& mouse_irq, ResetLine& reset_line);

    /// One port each: 60h and 64h.
    io::IoHandler& data_port() { return data_port_; }
    io::IoHandler& command_port() { return command_port_; }

    void key(std::uint16_t code, bool pressed) override;
    void move(int dx, int dy, int wheel, std::uint8_t buttons) override;
    const Ps2Keyboard& keyboard() const { return keyboard_; }

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    class DataPort : public io::IoHandler {
      public:
        explicit DataPort(I8042& owner) : owner_(owner) {}
        std::uint64_t read(std::uint64_t, unsigned) override { return owner_.read_data(); }
        void write(std::uint64_t, unsigned, std::uint64_t value) override {
            owner_.write_data(static_cast<std::uint8_t>(value));
        }
        std::string_view register_name(std::uint64_t) const override { return "DATA"; }

      private:
        I8042& owner_;
    };
    class CommandPort : public io::IoHandler {
      public:
        explicit CommandPort(I8042& owner) : owner_(owner) {}
        std::uint64_t read(std::uint64_t, unsigned) override { return owner_.read_status(); }
        void write(std::uint64_t, unsigned, std::uint64_t value) override {
            owner_.write_command(static_cast<std::uint8_t>(value));
        }
        std::string_view register_name(std::uint64_t) const override { return "STATUS/COMMAND"; }

      private:
        I8042& owner_;
    };

    struct State {
        /// Byte 0 is the command byte.
        std::array<std::uint8_t, i8042::ram_size> ram{0x65};
        std::uint8_t output_port = 0xC3;
        std::uint8_t output = 0;
        bool output_full = false;
        bool output_from_mouse = false;
        /// An answer of the controller that waits for the output buffer.
        std::uint8_t reply = 0;
        bool reply_waits = false;
        bool reply_from_mouse = false;
        bool last_write_was_command = false;
        /// The command whose byte comes next; 0 for none.
        std::uint8_t awaiting = 0;
        /// The translator has swallowed F0h: the next code is a release.
        bool release_follows = false;
    };

    std::uint8_t read_data();
    std::uint8_t read_status() const;
    void write_data(std::uint8_t value);
    void write_command(std::uint8_t command);
    void run_command(std::uint8_t command);
    void run_command_with_byte(std::uint8_t command, std::uint8_t value);
    void set_control_bit(std::uint8_t bit_mask, bool on);
    void set_output_port(std::uint8_t value);
    std::uint8_t read_output_port() const;
    void send_to_keyboard(std::uint8_t value);
    void send_to_mouse(std::uint8_t value);
    void reply(std::uint8_t value, bool from_mouse = false);
    void put_output(std::uint8_t value, bool from_mouse);
    void fill_output();
    bool take_from_keyboard(std::uint8_t& value);
    std::uint8_t control() const { return state_.ram[0]; }
    void update_irq();

    irq::LevelLine& keyboard_irq_;
    irq::LevelLine& mouse_irq_;
    ResetLine& reset_line_;
    DataPort data_port_{*this};
    CommandPort command_port_{*this};
    Ps2Keyboard keyboard_;
    Ps2Mouse mouse_;
    State state_;
    base::GuestFault unknown_command_{"i8042", "unknown controller command"};
};

}  // namespace cupule::device
