#pragma once

#include <string>

#include "base/error.h"
#include "passthrough/host_topology.h"

namespace cupule::passthrough {

/// Gives functions of the host to vfio-pci and back (Linux Documentation/ABI/testing/sysfs-bus-pci:
/// driver_override, unbind, drivers_probe). The driver a function had is kept in a file, so that
/// any later process can give it back.
class DriverBinding {
  public:
    /// Tests name another root than "".
    explicit DriverBinding(std::string root = {}) : root_(std::move(root)) {}

    /// Takes the function from its driver and gives it to vfio-pci; nothing happens when that has
    /// it. The error names what is missing.
    base::Result<void> bind(const HostFunction& function) const;
    /// Takes it from vfio-pci and gives it to the driver it had, or to the one that wants it.
    base::Result<void> unbind(const HostFunction& function) const;

  private:
    std::string device_path(const HostFunction& function) const;
    std::string record_path(const HostFunction& function) const;
    base::Result<void> write(const std::string& path, const std::string& text) const;
    base::Result<void> record(const HostFunction& function) const;

    const std::string root_;
};

}  // namespace cupule::passthrough
