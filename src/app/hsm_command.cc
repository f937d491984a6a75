#include "app/hsm_command.h"

#include <pthread.h>

#include <csignal>
#include <memory>
#include <thread>
#include <utility>

#include "app/exit_codes.h"
#include "app/host_cpus.h"
#include "app/service_signals.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "event/event_loop.h"
#include "hsm/cuse_service.h"
#include "hsm/vfio_host_devices.h"
#include "hypervisor/kvm/kvm_vm.h"
#include "passthrough/acpi_device.h"

namespace cupule::app {
namespace {

/// An event loop with a thread of its own, for what few events the devices of guests have.
class LoopThread {
  public:
    explicit LoopThread(std::unique_ptr<event::EventLoop> loop)
        : loop_(std::move(loop)), thread_([this] {
              sigset_t all;
              sigfillset(&all);
              pthread_sigmask(SIG_SETMASK, &all, nullptr);
              pthread_setname_np(pthread_self(), "hsm devices");
              loop_->run();
          }) {}
    ~LoopThread() {
        loop_->stop();
        thread_.join();
    }
    LoopThread(const LoopThread&) = delete;
    LoopThread& operator=(const LoopThread&) = delete;
    event::EventLoop& loop() { return *loop_; }

  private:
    std::unique_ptr<event::EventLoop> loop_;
    std::thread thread_;
};

hsm::DeviceParts device_parts(event::EventLoop& loop, const hsm::SharedMemories& memories) {
    return {.make_host_devices =
                [](hypervisor::Vm& vm) { return std::make_unique<hsm::VfioHostDevices>(vm); },
            .map_host_memory = [](std::uint64_t base,
                                  std::uint64_t size) -> base::Result<passthrough::HostMapping> {
                CUPULE_TRY_ASSIGN(const auto map, passthrough::read_host_memory_map());
                CUPULE_TRY(passthrough::check_memory_range(base, size, map));
                return passthrough::HostMapping::map(base, size);
            },
            .loop = &loop,
            .shared_memories = &memories};
}

base::Result<void> serve(const HsmOptions& options) {
    CUPULE_TRY_ASSIGN(const base::FileDescriptor signals, take_end_signals());
    CUPULE_TRY_ASSIGN(auto loop, event::EventLoop::create());
    hsm::SharedMemories memories;
    LoopThread devices(std::move(loop));
    for (const HsmOptions::SharedMemory& wanted : options.shared_memory) {
        CUPULE_TRY_ASSIGN(auto memory, hsm::SharedMemory::create(
                                           std::uint64_t{wanted.size_mb} << 20, devices.loop()));
        memories.insert_or_assign(wanted.name, std::move(memory));
    }
    hsm::ServiceParts parts{
        .make_vm =
            [](const hypervisor::VmSpec& spec) -> base::Result<std::unique_ptr<hypervisor::Vm>> {
            CUPULE_TRY_ASSIGN(auto vm,
                              hypervisor::KvmVm::create(spec, hypervisor::KvmIrqchip::split));
            return vm;
        },
        .cpus = {},
        .devices = device_parts(devices.loop(), memories),
    };
    const HostCpus host = HostCpus::read();
    for (const PinnedCpu& cpu : host.cpus()) {
        parts.cpus.push_back({.lapic_id = cpu.lapic_id, .host_cpu = cpu.host_cpu});
    }
    CUPULE_TRY_ASSIGN(const auto service, hsm::CuseService::create(options.device, parts));
    base::log_info("offering ACRN's service module as /dev/{}", options.device);
    service->run(signals.get());
    return {};
}

}  // namespace

int run_hsm(const HsmOptions& options) {
    if (const auto result = serve(options); !result) {
        base::log_error("hsm: {}", result.error().message);
        return exit_failure;
    }
    return exit_ok;
}

}  // namespace cupule::app
