#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/stdio_channel.h"
#include "base/error.h"
#include "event/event_loop.h"
#include "hypervisor/vm.h"
#include "irq/interrupt.h"
#include "machine/statistics_detail.h"
#include "machine/vm_options.h"
#include "memory/guest_memory.h"
#include "pci/function.h"
#include "snapshot/device.h"

namespace cupule::machine {

/// What an endpoint may be made from; factories take what they need. All outlives the endpoint.
struct EndpointContext {
    memory::GuestMemory& memory;
    event::EventLoop& loop;
    hypervisor::Vm& vm;
    event::Monitor& monitor;
    /// What concerns devices of a kind as a whole.
    const VmOptions& options;
    backend::StdioOwner& stdio;
};

/// A device on the bus with all that belongs to it (back ends, worker), destroyed with it. Its
/// reset leaves no thread that touches guest memory.
class Endpoint {
  public:
    virtual ~Endpoint() = default;
    virtual pci::Function& function() = 0;
    virtual snapshot::Device& device() = 0;
    /// A drive that had no disk gets one (acrn-dm's blkrescan). With the device's monitor held.
    virtual base::Result<void> insert_disk(const std::string& /*path*/) {
        return base::fail("it is no drive");
    }
    /// A balloon asks the guest to give up so much of its memory in all. With the device's monitor
    /// held.
    virtual base::Result<void> inflate(std::uint64_t /*size_mib*/) {
        return base::fail("it is no balloon");
    }
    /// BARs have their addresses, the VM does not run: what the hypervisor has of this device comes
    /// to the guest, and goes again when its memory does. Control thread, no monitor held.
    virtual base::Result<void> placed() { return {}; }
    virtual void leaving() {}
    /// Lines for people about what the device has done so far. Control thread, no monitor held.
    virtual std::vector<std::string> statistics(StatisticsDetail /*detail*/) const { return {}; }
};

using EndpointFactory = base::Result<std::unique_ptr<Endpoint>> (*)(const SlotOptions& slot,
                                                                    const EndpointContext& context);

/// Who makes the device of that name in machine::device_catalogue(); nullptr: nobody (bridges are
/// PciDevices' own).
EndpointFactory find_endpoint_factory(std::string_view name);

}  // namespace cupule::machine
