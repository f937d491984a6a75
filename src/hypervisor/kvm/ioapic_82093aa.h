#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/log.h"
#include "irq/interrupt.h"

namespace cupule::hypervisor {

/// What an IOAPIC is wired to.
class IoapicOutputs {
  public:
    virtual ~IoapicOutputs() = default;
    virtual void send(const irq::MsiMessage& message) = 0;
    /// From now on the end of the level interrupt `message` of input `pin` has to be reported
    /// (Ioapic82093aa::end_of_interrupt). Called before it is first sent.
    virtual void watch_end(unsigned pin, const irq::MsiMessage& message) = 0;
};

/// The I/O advanced programmable interrupt controller: each input has an entry that says which
/// message it sends.
///
/// Models: IOREGSEL, IOWIN, IOAPICID, IOAPICVER, IOAPICARB and the redirection table; edge and
///   level inputs, polarity, mask, remote IRR; fixed, lowest priority, SMI, NMI and INIT delivery.
/// Leaves out: ExtINT delivery; delivery status (a message is sent at once); the arbitration bus.
/// Differs on purpose: 48 inputs as ACRN's, not 24; an entry made edge-triggered loses its remote
///   IRR, which is how a driver gets rid of one that no processor will end.
/// Intel 82093AA data sheet 290566-001 (1996), 3.0.
class Ioapic82093aa {
  public:
    static constexpr unsigned pins = 48;

    explicit Ioapic82093aa(IoapicOutputs& outputs) : outputs_(outputs) {}

    /// 32-bit registers at offsets 0 and 0x10 of the page.
    std::uint64_t read(std::uint64_t offset, unsigned size) const;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value);

    /// Drives an input, below `pins`, electrically.
    void set_pin(unsigned pin, bool high);
    /// Whether input `pin`, below `pins`, waits for the end of the level interrupt `vector`.
    bool awaits_end(unsigned pin, std::uint8_t vector) const;
    /// A processor has ended the level interrupt `vector`.
    void end_of_interrupt(std::uint8_t vector);
    /// Power-on; the levels of the inputs stay, they are not the chip's.
    void reset();

  private:
    struct State {
        State() { entries.fill(entry_power_on); }

        std::uint8_t index = 0;  // IOREGSEL
        std::uint32_t id = 0;    // IOAPICID
        std::array<std::uint64_t, pins> entries{};
    };
    static constexpr std::uint64_t entry_power_on = 0x1'0000;  // masked

    std::uint32_t read_register() const;
    void write_register(std::uint32_t value);
    void write_entry(unsigned pin, std::uint64_t value);
    bool asserted(unsigned pin) const;
    /// Sends what a level-triggered input has to say: pure in the state.
    void update_level(unsigned pin);
    void send(unsigned pin);

    IoapicOutputs& outputs_;
    State state_;
    /// One bit for each input that is high.
    std::uint64_t levels_ = 0;
    /// What `watch_end` was last told.
    std::array<std::optional<irq::MsiMessage>, pins> watched_{};
    base::GuestFault bad_delivery_{"ioapic", "a delivery mode that no message has"};
};

}  // namespace cupule::hypervisor
