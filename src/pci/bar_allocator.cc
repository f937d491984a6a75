#include "pci/bar_allocator.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/bits.h"
#include "event/mutex.h"
#include "pci/bridge.h"

namespace cupule::pci {
namespace {

/// So that no two BARs share a page the hypervisor might map.
constexpr std::uint64_t memory_alignment_min = 0x1000;
constexpr std::uint64_t bridge_memory_alignment = 0x10'0000;
constexpr std::uint64_t bridge_port_alignment = 0x1000;

/// Hands out addresses of a window in ascending order.
class Cursor {
  public:
    Cursor(std::string_view what, const ResourceWindow& window)
        : what_(what), window_(window), next_(window.first) {}

    std::optional<std::uint64_t> take(std::uint64_t size, std::uint64_t alignment) {
        const std::uint64_t address = base::align_up(next_, std::max(size, alignment));
        if (address < next_ || address > window_.last || size - 1 > window_.last - address) {
            return std::nullopt;
        }
        next_ = address + size;
        return address;
    }
    void align(std::uint64_t alignment) { next_ = base::align_up(next_, alignment); }
    std::uint64_t next() const { return next_; }
    std::string_view what() const { return what_; }
    const ResourceWindow& window() const { return window_; }

  private:
    std::string_view what_;
    ResourceWindow window_;
    std::uint64_t next_;
};

class Assignment {
  public:
    explicit Assignment(const ResourceWindows& windows)
        : ports_("port", windows.ports),
          memory_32_("32-bit memory", windows.memory_32),
          memory_64_("64-bit memory", windows.memory_64),
          low_64_bit_max_(windows.low_64_bit_max) {}

    base::Result<void> assign_bus(const Bus& bus, std::uint8_t number) {
        for (unsigned device = 0; device < devices_per_bus; ++device) {
            for (unsigned function = 0; function < functions_per_device; ++function) {
                if (const BusEntry* entry = bus.at(device, function)) {
                    CUPULE_TRY(assign_function(*entry, number));
                }
            }
        }
        return {};
    }
    std::uint8_t last_bus() const { return last_bus_; }

  private:
    base::Result<void> assign_function(const BusEntry& entry, std::uint8_t bus) {
        {
            event::MutexLock lock(*entry.monitor);
            CUPULE_TRY(assign_bars(entry, bus != 0));
        }
        if (entry.bridge != nullptr) {
            CUPULE_TRY(assign_bridge(entry, bus));
        }
        return {};
    }

    base::Result<void> assign_bars(const BusEntry& entry, bool behind_bridge) {
        Function& function = *entry.function;
        std::uint16_t command =
            Command::bus_master.with(0, !function.attributes().bus_mastering_off);
        for (unsigned bar = 0; bar < bar_count; ++bar) {
            const BarState state = function.bar(bar);
            if (state.size == 0) {
                continue;
            }
            const bool is_io = state.kind == BarKind::io;
            Cursor& cursor = choose(state, behind_bridge);
            const auto address = cursor.take(state.size, is_io ? 1 : memory_alignment_min);
            if (!address) {
                return base::fail(
                    "'{}': BAR{} needs {:#x} bytes of {} addresses, and {:#x} to {:#x} has no room "
                    "left: use fewer or smaller devices",
                    entry.name, bar, state.size, cursor.what(), cursor.window().first,
                    cursor.window().last);
            }
            function.assign_bar(bar, *address);
            command |= is_io ? Command::io_space.mask : Command::memory_space.mask;
        }
        if (entry.bridge != nullptr) {
            command |= Command::io_space.mask | Command::memory_space.mask;
        }
        function.write_config(config::command, 2, command);
        return {};
    }

    /// Behind a bridge only prefetchable memory may lie above 4 GiB (PCI-to-PCI Bridge 1.2, 3.2.5).
    Cursor& choose(const BarState& bar, bool behind_bridge) {
        if (bar.kind == BarKind::io) {
            return ports_;
        }
        const bool may_be_high =
            bar.kind == BarKind::memory_64 && (!behind_bridge || bar.prefetchable);
        return may_be_high && bar.size > low_64_bit_max_ ? memory_64_ : memory_32_;
    }

    void align_all() {
        ports_.align(bridge_port_alignment);
        memory_32_.align(bridge_memory_alignment);
        memory_64_.align(bridge_memory_alignment);
    }

    static BridgeWindow window(std::uint64_t first, const Cursor& cursor) {
        return first == cursor.next() ? BridgeWindow{}
                                      : BridgeWindow{.base = first, .last = cursor.next() - 1};
    }

    base::Result<void> assign_bridge(const BusEntry& entry, std::uint8_t bus) {
        if (last_bus_ == 0xFF) {
            return base::fail("'{}': there are more than 255 buses", entry.name);
        }
        const std::uint8_t secondary = ++last_bus_;
        align_all();
        const std::uint64_t ports = ports_.next();
        const std::uint64_t memory_32 = memory_32_.next();
        const std::uint64_t memory_64 = memory_64_.next();
        CUPULE_TRY(assign_bus(entry.bridge->secondary(), secondary));
        align_all();
        event::MutexLock lock(*entry.monitor);
        entry.bridge->assign_bus_numbers(bus, secondary, last_bus_);
        entry.bridge->assign_windows(window(ports, ports_), window(memory_32, memory_32_),
                                     window(memory_64, memory_64_));
        return {};
    }

    Cursor ports_;
    Cursor memory_32_;
    Cursor memory_64_;
    const std::uint64_t low_64_bit_max_;
    std::uint8_t last_bus_ = 0;
};

}  // namespace

base::Result<std::uint8_t> assign_resources(const Bus& root, const ResourceWindows& windows) {
    Assignment assignment(windows);
    CUPULE_TRY(assignment.assign_bus(root, 0));
    return assignment.last_bus();
}

}  // namespace cupule::pci
