#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "event/mutex.h"
#include "hsm/client_process.h"
#include "hsm/eventfd_clients.h"
#include "hsm/request_slots.h"
#include "hsm/vm_devices.h"
#include "hsm/vm_event_ring.h"
#include "hsm/vm_registry.h"
#include "hypervisor/vm.h"

namespace cupule::hsm {

/// A processor of the host by the number that a client's affinity mask has for it.
struct PhysicalCpu {
    std::uint32_t lapic_id = 0;
    /// Linux's number; empty when it is offline.
    std::optional<unsigned> host_cpu{};
};

/// What all VMs of a service share; outlives them.
struct ServiceParts {
    std::function<base::Result<std::unique_ptr<hypervisor::Vm>>(const hypervisor::VmSpec&)> make_vm;
    std::vector<PhysicalCpu> cpus;
    VmRegistry registry{};
    DeviceParts devices{};
};

/// A User VM as the ACRN hypervisor keeps one: its state machine (created, running, paused), its
/// processors and interrupt controllers by a hypervisor::Vm, its memory and requests by a client
/// process. Results are 0 or a negative errno. Any thread.
class UserVm : private io::IoClient, private hypervisor::VmEvents {
  public:
    /// Makes the VM that CREATE_VM asks for and fills in what comes back. EINVAL where the name is
    /// taken, the CPUs do not exist, or the page is none.
    static base::Result<std::shared_ptr<UserVm>> create(
        ServiceParts& service, acrn_vm_creation& creation,
        const std::shared_ptr<const ClientProcess>& client);
    /// Stops the processors, whatever they are doing.
    ~UserVm() override;

    int start() CUPULE_EXCLUDES(life_);
    int pause() CUPULE_EXCLUDES(life_);
    int reset() CUPULE_EXCLUDES(life_);
    /// Ends the run for good, whatever the processors are doing; nobody waits afterwards.
    void stop() CUPULE_EXCLUDES(life_);
    /// Whether DESTROY_VM is allowed: EPERM unless paused.
    int check_destroy() CUPULE_EXCLUDES(life_);
    int set_vcpu_regs(const acrn_vcpu_regs& regs) CUPULE_EXCLUDES(life_);
    int map_ram(const acrn_vm_memmap& segment, const ClientProcess& caller) CUPULE_EXCLUDES(life_);
    /// Devices come to a VM that was made or reset and not started since, and go from one that is
    /// paused, too; else `refusal`. `change` calls VmDevices.
    template <class Change>
    int add_device(int refusal, Change change) CUPULE_EXCLUDES(life_) {
        event::MutexLock lock(life_);
        return phase_ == Phase::created ? change(devices_) : refusal;
    }
    template <class Change>
    int remove_device(int refusal, Change change) CUPULE_EXCLUDES(life_) {
        event::MutexLock lock(life_);
        return phase_ != Phase::running ? change(devices_) : refusal;
    }
    int set_irqline(std::uint64_t argument);
    int inject_msi(const acrn_msi_entry& entry);

    RequestSlots& requests() { return requests_; }
    EventfdClients& eventfds() { return eventfds_; }
    VmEventRing& events() { return events_; }
    /// SETUP_ASYNCIO. KVM signals eventfds itself, so that no processor waits for one and the
    /// client's ring stays empty.
    int set_up_asyncio(const ClientProcess& caller, std::uint64_t address);
    std::uint16_t id() const { return claim_->id(); }

  private:
    enum class Phase : std::uint8_t { created, running, paused };

    UserVm(ServiceParts& service, std::unique_ptr<VmRegistry::Claim> claim,
           std::unique_ptr<hypervisor::Vm> vm, std::unique_ptr<ClientPage> page, unsigned vcpus,
           std::uint64_t flags);

    void handle(io::IoRequest& request) override;
    bool handle_pci_ports(io::IoRequest& request);
    void note_power_off(const io::IoRequest& request);
    void vm_stopped(hypervisor::VmStop reason, const std::string& detail) override;

    const std::unique_ptr<VmRegistry::Claim> claim_;
    const bool realtime_;

    /// Mapped as long as the VM lives: declared before it.
    std::vector<std::unique_ptr<SharedRange>> memory_ CUPULE_GUARDED_BY(life_);
    const std::unique_ptr<hypervisor::Vm> vm_;
    RequestSlots requests_;
    EventfdClients eventfds_;
    VmEventRing events_;
    std::atomic<bool> has_asyncio_{false};
    /// Changed under `life_`, used by processors while they run.
    VmDevices devices_;
    /// What the guest last wrote to port 0xCF8.
    std::atomic<std::uint32_t> pci_address_{0};
    /// A real-time VM may be paused only when its guest has said that it goes.
    std::atomic<bool> ready_to_power_off_{false};

    /// Held through every change of the phase.
    event::Mutex life_;
    Phase phase_ CUPULE_GUARDED_BY(life_) = Phase::created;
};

}  // namespace cupule::hsm
