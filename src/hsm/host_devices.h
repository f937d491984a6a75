#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/error.h"
#include "io/io_request.h"
#include "memory/guest_address.h"
#include "passthrough/host_device.h"

namespace cupule::hsm {

/// A piece of a VM's RAM as this process has it.
struct RamPiece {
    memory::GuestAddress base{};
    std::uint64_t size = 0;
    std::byte* host = nullptr;
};

/// What of the host's devices one VM can have. One caller at a time.
class HostDevices {
  public:
    virtual ~HostDevices() = default;
    /// Gives the function to the VM, whose devices then reach `ram` and nothing else. `intx`: the
    /// client wants its INTx, if it has one. The error's code is the client's; none: ENODEV.
    virtual base::Result<std::unique_ptr<passthrough::HostDevice>> open(
        io::PciAddress address, std::span<const RamPiece> ram, bool intx) = 0;
    /// After the device of `address` was destroyed: the host has it back. Behind the last one the
    /// RAM is free again.
    virtual void given_back(io::PciAddress address) = 0;
    /// RAM that came while devices are open.
    virtual base::Result<void> add_ram(const RamPiece& piece) = 0;
};

}  // namespace cupule::hsm
