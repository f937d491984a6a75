#pragma once

#include <array>
#include <cstdint>

#include "backend/byte_channel.h"
#include "device/serial/uart_16550_registers.h"
#include "io/io_handler.h"
#include "irq/interrupt.h"
#include "snapshot/device.h"

namespace cupule::device {

/// NS16550A: universal asynchronous receiver/transmitter with 16-byte FIFOs (COM1 to COM5).
/// Document: National Semiconductor PC16550D, June 1995 (section numbers below are of its 8.x).
///
/// Models: all registers, both FIFOs with trigger levels, 16450 mode, the prioritised interrupt
/// identification, overrun and break, loopback with modem lines, OUT2 as the PC's interrupt gate.
/// Leaves out: parity and framing errors (a channel has whole bytes), stick parity, word length,
/// DMA signalling, sending a break.
/// Differs on purpose:
///  - No baud rate: a byte leaves at once when the channel takes it. When the channel is full
///    the byte stays and THRE is held back, so none is lost.
///  - The character timeout has no four characters' delay: data below the trigger level is at
///    once a timeout interrupt. Drivers treat both kinds alike, and input has no latency.
///  - After `empty_reports_max` transmitter-empty reports without a pause, IIR says "none" once
///    and the line makes a new edge. A driver that loops until "none" would never leave a
///    transmitter without delay (Linux gives up after 512 rounds, with a message).
///  - The modem inputs CTS, DSR and DCD are on whether or not somebody is connected, so that a
///    console without a reader never stalls its guest.
///  - The receiver takes bytes from the channel as it has room: an outside sender never causes
///    an overrun.
class Uart16550 : public io::IoHandler,
                  public snapshot::Device,
                  private backend::ByteChannelEvents {
  public:
    /// `line` is driven as a level; an ISA input makes edges of it. `channel` outlives the device,
    /// which listens to it from now on.
    Uart16550(irq::LevelLine& line, backend::ByteChannel& channel);
    ~Uart16550() override;
    Uart16550(const Uart16550&) = delete;
    Uart16550& operator=(const Uart16550&) = delete;

    /// Eight registers of a byte; wider accesses are bytes in ascending order.
    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t offset) const override;

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

    static constexpr unsigned fifo_size = 16;
    static constexpr std::uint8_t empty_reports_max = 64;

  private:
    struct State {
        std::uint8_t interrupt_enable = 0;
        std::uint8_t line_control = 0;
        std::uint8_t modem_control = 0;
        std::uint8_t scratch = 0;
        std::uint8_t divisor_low = 0x0C;  // 9600 baud
        std::uint8_t divisor_high = 0;
        bool fifos_enabled = false;
        std::uint8_t trigger = 0;  // FCR7:6
        bool overrun = false;
        /// THRE has come and IIR has not yet reported it.
        bool empty_pending = false;
        /// Transmitter-empty reports since IIR last said "none".
        std::uint8_t empty_reports = 0;
        std::uint8_t modem_changes = 0;  // MSR3:0
        /// Received bytes, the oldest first, and which of them are breaks (bit n: byte n).
        std::array<std::uint8_t, fifo_size> received{};
        std::uint8_t received_count = 0;
        std::uint16_t breaks = 0;
        /// Bytes the channel had no room for, the oldest first.
        std::array<std::uint8_t, fifo_size> unsent{};
        std::uint8_t unsent_count = 0;
    };

    // backend::ByteChannelEvents
    void readable() override;
    void writable() override;
    void break_received() override;

    std::uint8_t read_register(std::uint64_t offset);
    void write_register(std::uint64_t offset, std::uint8_t value);
    std::uint8_t read_data();
    std::uint8_t read_interrupt_id();
    std::uint8_t read_line_status();
    std::uint8_t read_modem_status();
    void write_data(std::uint8_t value);
    void write_interrupt_enable(std::uint8_t value);
    void write_fifo_control(std::uint8_t value);
    void write_modem_control(std::uint8_t value);

    bool latch_open() const;
    bool looped() const;
    unsigned capacity() const { return state_.fifos_enabled ? fifo_size : 1; }
    std::uint8_t modem_inputs() const;
    uart_16550::InterruptId pending_interrupt() const;
    void receive(std::uint8_t value, bool is_break);
    void fill_from_channel();
    void send_unsent();
    void clear_receiver();
    void clear_sender();
    void sanitise();
    void update_irq();

    irq::LevelLine& line_;
    backend::ByteChannel& channel_;
    State state_;
};

}  // namespace cupule::device
