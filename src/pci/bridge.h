#pragma once

#include <atomic>
#include <cstdint>

#include "pci/bus.h"
#include "pci/function.h"
#include "snapshot/device.h"

// A PCI-to-PCI bridge (PCI-to-PCI Bridge Architecture 1.2; PCI Express Base 3.1, 7.1 and 7.5.3).
//
// Models: the type 1 header, routing of configuration accesses by the bus numbers the guest writes,
// the window registers (16-bit I/O, memory, 64-bit prefetchable memory) as storage.
// Leaves out: secondary bus reset; error forwarding.
// Differs on purpose: windows do not filter. A BAR behind the bridge decodes wherever its own
// register says; changing a window would otherwise enter every device behind it (see ADR 0003).
namespace cupule::pci {

/// The registers with which the guest places a bridge's windows, as the allocator sets them. A
/// window is empty when `last` is below `base`.
struct BridgeWindow {
    std::uint64_t base = 1;
    std::uint64_t last = 0;
    bool empty() const { return last < base; }
};

/// The common part of every bridge: a type 1 function and the bus behind it. A device that is a
/// bridge (a root port) owns one and adds capabilities to `function()`.
class Bridge : private FunctionPart {
  public:
    /// `attributes.header_type` is HeaderType::bridge.
    Bridge(const Attributes& attributes, BusSpaces spaces);

    Function& function() { return function_; }
    Bus& secondary() { return secondary_; }
    const Bus& secondary() const { return secondary_; }

    /// The bus numbers the guest has programmed. Any thread, without the monitor: a write becomes
    /// visible as a whole.
    struct BusNumbers {
        std::uint8_t secondary = 0;
        std::uint8_t subordinate = 0;
    };
    BusNumbers bus_numbers() const;

    // As firmware does, with the function's monitor held. Windows are aligned: I/O to 4 KiB, memory
    // to 1 MiB.
    void assign_bus_numbers(std::uint8_t primary, std::uint8_t secondary, std::uint8_t subordinate);
    void assign_windows(BridgeWindow io, BridgeWindow memory, BridgeWindow prefetchable);

  private:
    void config_written(std::uint64_t offset, unsigned size) override;
    void reset() override;
    void visit(snapshot::Visitor& visitor) override;
    void define_header();
    void publish_bus_numbers();

    Function function_;
    Bus secondary_;
    /// secondary | subordinate << 8: what routing reads while the monitor is another's.
    std::atomic<std::uint16_t> bus_numbers_{0};
};

}  // namespace cupule::pci
