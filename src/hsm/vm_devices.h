#pragma once

#include <linux/acrn.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "event/event_loop.h"
#include "hsm/host_devices.h"
#include "hsm/shared_memory.h"
#include "hsm/vm_functions.h"
#include "hypervisor/vm.h"
#include "passthrough/host_memory.h"

namespace cupule::hsm {

/// What device calls need of the host; outlives all VMs of a service.
struct DeviceParts {
    /// Empty: the host gives none away.
    std::function<std::unique_ptr<HostDevices>(hypervisor::Vm&)> make_host_devices{};
    /// The host's memory at a physical address; the error is that nobody may have it. Empty: none.
    std::function<base::Result<passthrough::HostMapping>(std::uint64_t base, std::uint64_t size)>
        map_host_memory{};
    /// A loop that runs as long as the service.
    event::EventLoop* loop = nullptr;
    /// nullptr: none.
    const SharedMemories* shared_memories = nullptr;
};

/// The devices that the hypervisor has for one VM, by the calls that change them: functions of the
/// host and their INTx, ranges of the host's memory, functions of its own. Results are 0 or a
/// negative errno. Calls come one at a time, while no processor runs; `handle` while they run.
class VmDevices {
  public:
    /// All outlive this. `vm_id`: the VM's number.
    VmDevices(const DeviceParts& parts, hypervisor::Vm& vm, std::uint16_t vm_id, unsigned vcpus);
    ~VmDevices();
    VmDevices(const VmDevices&) = delete;
    VmDevices& operator=(const VmDevices&) = delete;

    /// RAM that the VM has now.
    int add_ram(const RamPiece& piece);

    int assign(const acrn_pcidev& device);
    int deassign(const acrn_pcidev& device);
    int connect_intx(const acrn_ptdev_irq& interrupt);
    int disconnect_intx(const acrn_ptdev_irq& interrupt);
    int assign_memory(const acrn_mmiodev& device);
    int deassign_memory(const acrn_mmiodev& device);
    /// SET_MEMSEG and UNSET_MEMSEG of the kind MMIO.
    int map_host_memory(const acrn_vm_memmap& segment);
    int unmap_host_memory(const acrn_vm_memmap& segment);
    int create(const acrn_vdev& device);
    int destroy(const acrn_vdev& device);

    void reset() { functions_.reset(); }
    /// As VmFunctions::handle.
    bool handle(io::IoRequest& request) { return functions_.handle(request); }

  private:
    class Passed;
    /// A range of the host's memory in the guest.
    struct Window {
        std::uint64_t host_base = 0;
        passthrough::HostMapping mapping;
    };

    Passed* find_passed(std::uint16_t virtual_bdf, std::uint16_t host_bdf) const;
    Passed* find_with_intx(const acrn_ptdev_irq& interrupt) const;
    base::Result<std::unique_ptr<Passed>> open(const acrn_pcidev& device, event::Monitor& monitor);
    int map_window(std::uint64_t guest, std::uint64_t host_base, std::uint64_t size,
                   hypervisor::MemoryAccess access);
    int unmap_window(std::uint64_t guest, std::uint64_t host_base, std::uint64_t size);

    const DeviceParts& parts_;
    hypervisor::Vm& vm_;
    const std::uint16_t vm_id_;
    std::vector<RamPiece> ram_;
    std::map<std::uint64_t, Window> windows_;
    /// Both after the functions: they are closed before.
    std::unique_ptr<HostDevices> host_;
    VmFunctions functions_;
};

}  // namespace cupule::hsm
