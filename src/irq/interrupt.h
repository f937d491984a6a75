#pragma once

#include <compare>
#include <cstdint>

namespace cupule::irq {

/// Global system interrupt: the number of an IOAPIC input (ACPI 6.5, 5.2.13). 0 to 15 are also the
/// ISA IRQs of the 8259s; ISA IRQ 0 reaches IOAPIC input 2 and the hypervisor side knows that.
struct Gsi {
    std::uint32_t value = 0;
    constexpr auto operator<=>(const Gsi&) const = default;
};

/// A message-signalled interrupt as the device wrote it (Intel SDM vol. 3, 11.11).
struct MsiMessage {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
    bool operator==(const MsiMessage&) const = default;
};

/// A level-triggered line: the device drives its level and keeps it until the cause is gone. True
/// means asserted, whatever the electrical polarity. Setting the level it has does nothing. Any
/// thread.
class LevelLine {
  public:
    virtual ~LevelLine() = default;
    virtual void set_level(bool asserted) = 0;
};

/// An edge-triggered line: each pulse is one interrupt. Any thread.
class EdgeLine {
  public:
    virtual ~EdgeLine() = default;
    virtual void pulse() = 0;
};

/// Takes MSI and MSI-X messages. Any thread.
class MessageSink {
  public:
    virtual ~MessageSink() = default;
    virtual void send(const MsiMessage& message) = 0;
};

/// The hypervisor's side of interrupts. Any thread.
class InterruptController : public MessageSink {
  public:
    /// Drives the input of a GSI (on the 8259s too, for GSIs below 16).
    virtual void set_gsi_level(Gsi gsi, bool asserted) = 0;
    /// An edge on a GSI that is not asserted.
    virtual void pulse_gsi(Gsi gsi) {
        set_gsi_level(gsi, true);
        set_gsi_level(gsi, false);
    }
    /// How many IOAPIC inputs there are: KVM 24, ACRN 48.
    virtual unsigned gsi_count() const = 0;
};

}  // namespace cupule::irq
