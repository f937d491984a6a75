#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "event/mutex.h"
#include "snapshot/device.h"
#include "snapshot/snapshot.h"

namespace cupule::machine {

/// Every device of a machine with its name and its lock: what reset, save and views walk over.
/// Devices register while the machine is put together; walks belong to the control thread.
class Parts {
  public:
    /// A lock for one device (or for several that share their state); lives as long as the list.
    event::Monitor& new_monitor() { return monitors_.emplace_back(); }

    /// `device` is reset by Device::reset, or by `reset` where a reboot is not a power cycle to it.
    /// Both outlive the list's last walk.
    void add(std::string name, snapshot::Device& device, event::Monitor& monitor,
             std::function<void()> reset = {});

    void reset_all();
    /// One tree for the whole machine; names begin with the device's.
    snapshot::Tree save();

  private:
    struct Part {
        std::string name;
        snapshot::Device* device;
        event::Monitor* monitor;
        std::function<void()> reset;
    };
    std::deque<event::Monitor> monitors_;
    std::vector<Part> parts_;
};

}  // namespace cupule::machine
