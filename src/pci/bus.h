#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "event/mutex.h"
#include "io/address_space.h"
#include "pci/function.h"

namespace cupule::pci {

class Bridge;

inline constexpr unsigned devices_per_bus = 32;
inline constexpr unsigned functions_per_device = 8;

/// The two address spaces behind every bus of a machine.
struct BusSpaces {
    io::AddressSpace& ports;
    io::AddressSpace& memory;
};

/// One function on a bus, with the lock of its device.
struct BusEntry {
    Function* function = nullptr;
    event::Monitor* monitor = nullptr;
    /// The bridge whose type 1 function this is, else nullptr.
    Bridge* bridge = nullptr;
    std::string name;
};

/// A PCI bus: 32 devices of 8 functions. Buses form a tree: a bridge's function stands on one bus
/// and owns the next. Filled while a machine is put together, by one thread; read-only while the
/// guest runs, so that any thread looks functions up without a lock.
class Bus {
  public:
    explicit Bus(BusSpaces spaces) : spaces_(spaces) {}
    Bus(const Bus&) = delete;
    Bus& operator=(const Bus&) = delete;

    /// Puts a function at `device` (0 to 31), `number` (0 to 7). `name` is the device's for
    /// messages ("virtio-blk"). Refused, naming both, when the place is taken. `function` and
    /// `monitor` outlive the bus.
    base::Result<void> add(unsigned device, unsigned number, Function& function,
                           event::Monitor& monitor, std::string name);
    /// The same for a bridge, whose secondary bus joins the tree.
    base::Result<void> add(unsigned device, unsigned number, Bridge& bridge,
                           event::Monitor& monitor, std::string name);

    /// The lowest device number that has no function, or std::nullopt.
    std::optional<unsigned> free_device() const;

    /// The function at a place of this bus, or nullptr. `device` and `number` in range.
    const BusEntry* at(unsigned device, unsigned number) const;

    /// Whether a guest can find every function: each device, here and behind bridges, that has any
    /// function has function 0 (PCI Local Bus 3.0, 3.2.2.3.4). Names the device if not.
    base::Result<void> validate() const;

    /// Calls `visit` for each function of this bus in ascending order; not behind bridges.
    void for_each(
        const std::function<void(unsigned device, unsigned number, const BusEntry&)>& visit) const;

    /// The bridges on this bus, in the order they were added.
    const std::vector<const BusEntry*>& bridges() const { return bridges_; }

  private:
    base::Result<void> add_entry(unsigned device, unsigned number, BusEntry entry);
    void update_multi_function(unsigned device);

    BusSpaces spaces_;
    std::array<std::array<BusEntry, functions_per_device>, devices_per_bus> entries_{};
    std::vector<const BusEntry*> bridges_;
};

}  // namespace cupule::pci
