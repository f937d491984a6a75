#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "passthrough/host_topology.h"

namespace cupule::passthrough {

/// How long vfio-pci is to have a function.
enum class BindingTime : std::uint8_t {
    until_unbound,
    /// Until the virtual machine ends that takes it (DriverKeeper gives it back).
    until_run_ends,
};

/// What a function had before it went to vfio-pci.
struct BindingRecord {
    /// Empty: none.
    std::string driver{};
    /// What its driver_override said; empty: nothing.
    std::string override_driver{};
    BindingTime time = BindingTime::until_unbound;
};

/// Gives functions of the host to vfio-pci and back (Linux Documentation/ABI/testing/sysfs-bus-pci:
/// driver_override, unbind, drivers_probe). What a function had is kept in a file, so that any
/// later process can give it back.
class DriverBinding {
  public:
    using Writer =
        std::function<base::Result<void>(const std::string& path, const std::string& text)>;

    /// Tests name another root than "", and are the kernel behind its files.
    explicit DriverBinding(std::string root = {}, Writer writer = {});

    /// Takes the function from its driver and gives it to vfio-pci; nothing happens when that has
    /// it. Where vfio-pci does not take it, its driver has it again. The error names what is
    /// missing. It may send messages of the errors that its driver allowed, and of those that are
    /// not corrected where the port above sends them on (PCI Express Base 3.1, 7.8.4): some drivers
    /// forbid them as they leave, and nobody would hear of a failure.
    base::Result<void> bind(const HostFunction& function,
                            BindingTime time = BindingTime::until_unbound) const;
    /// Takes it from vfio-pci and gives it to the driver it had, or to none if it had none; where
    /// that is not known, to the one that wants it. Where the driver does not take it, the error
    /// names it, and what the function had stays known: `unbind` can be tried again.
    base::Result<void> unbind(const HostFunction& function) const;

    /// Of a function that `bind` took and nobody gave back. Where another driver has it, it was
    /// given back or is another device in the same place.
    std::optional<BindingRecord> record(const HostFunction& function) const;
    /// The device has left.
    void forget(const HostAddress& address) const;

  private:
    std::string device_path(const HostAddress& address) const;
    std::string record_path(const HostAddress& address) const;
    std::optional<BindingRecord> read_record(const HostFunction& function) const;
    base::Result<void> write_record(const HostFunction& function,
                                    const BindingRecord& record) const;
    /// What the function has now, or had before somebody took it who could not give it back.
    BindingRecord state_before(const HostFunction& function, BindingTime time) const;
    base::Result<void> give_back(const HostFunction& function, bool bound,
                                 const std::optional<BindingRecord>& record) const;
    /// To the driver that it had, else to any that wants it. The error is the first one's.
    base::Result<void> offer(const HostFunction& function, const BindingRecord& record) const;

    const std::string root_;
    const Writer write_;
};

}  // namespace cupule::passthrough
