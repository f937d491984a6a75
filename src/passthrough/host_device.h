#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "pci/bar.h"

namespace cupule::passthrough {

/// The interrupts a PCI function of the host can have.
enum class HostInterrupt : std::uint8_t { intx, msi, msix };

/// A part of a BAR that a guest may have straight in its memory: `offset` and `size` are multiples
/// of the page size. `host` stays valid as long as the device. Where the BAR is smaller than a
/// page, the piece is the whole page, of which nobody else has the rest.
struct BarPiece {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::byte* host = nullptr;
};

/// A BAR of the host's function, or its expansion ROM.
struct HostBar {
    pci::BarKind kind = pci::BarKind::memory_32;
    /// A power of two; 0: there is no such BAR.
    std::uint64_t size = 0;
    bool prefetchable = false;
    /// Ascending, not overlapping. What is in none of them is reached by read_bar and write_bar.
    std::vector<BarPiece> pieces{};
};

/// Why the host's device is no longer there.
enum class HostLoss : std::uint8_t {
    /// The host wants it back: it is being unplugged or unbound.
    requested,
    /// It reported an error that is not corrected (PCI Express advanced error reporting), after
    /// which the host may reset its link: what the guest had set up in it is lost.
    failed,
};

/// A PCI function of the host given to one guest, by VFIO, or a model of one in software. It was
/// opened reset (unless the user said otherwise), in D0, its memory and port decoding on and its
/// bus mastering off. Called with the monitor held of the function that shows it to the guest.
class HostDevice {
  public:
    virtual ~HostDevice() = default;

    /// For messages: "0000:00:02.0".
    virtual const std::string& name() const = 0;

    /// 256 or 4096.
    virtual unsigned config_size() const = 0;
    /// Natural accesses of 1, 2 or 4 bytes below config_size(). A host that fails answers ones.
    virtual std::uint64_t read_config(std::uint64_t offset, unsigned size) = 0;
    virtual void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) = 0;

    /// `bar`: 0 to 5, or pci::rom_bar. Of a 64-bit BAR only the first of its two has a size.
    virtual const HostBar& bar(unsigned bar) const = 0;
    /// Natural accesses of 1, 2, 4 or 8 bytes below the BAR's size.
    virtual std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) = 0;
    virtual void write_bar(unsigned bar, std::uint64_t offset, unsigned size,
                           std::uint64_t value) = 0;

    /// How many interrupts of this kind it has; 0: it cannot have them at all.
    virtual unsigned interrupts(HostInterrupt kind) const = 0;
    /// Makes it interrupt with this kind; at most one kind at a time. `vectors` of a message kind
    /// are prepared at most; fewer are not an error (`connect` tells). No vector is connected yet.
    virtual base::Result<void> enable(HostInterrupt kind, unsigned vectors) = 0;
    /// Each interrupt of a vector of the kind that is enabled signals `eventfd`. INTx is level: it
    /// is masked as it signals, until `resample_eventfd` is signalled (-1 for messages).
    virtual base::Result<void> connect(HostInterrupt kind, unsigned vector, int eventfd,
                                       int resample_eventfd) = 0;
    /// Ends what `enable` and `connect` made; nothing happens where the kind is not enabled.
    virtual void disable(HostInterrupt kind) = 0;

    /// Whether `reset_function` does anything.
    virtual bool resettable() const = 0;
    /// With the whole guest, which does not run: back to the state in which it was opened, by the
    /// best way it has: function level reset, power state, or the bus, with the guest's other
    /// functions there, which are to be reset as well. Interrupts are disabled before.
    virtual base::Result<void> reset() = 0;
    /// The same while the guest runs: this function alone, or nothing happens.
    virtual base::Result<void> reset_function() { return reset(); }

    /// An eventfd for each loss that is signalled when it happens, -1: this host does not tell.
    virtual int loss_eventfd(HostLoss loss) const = 0;
    /// Gives the device back: nothing of it works any more. Its pieces are unmapped from guests
    /// before.
    virtual void release() = 0;
};

}  // namespace cupule::passthrough
