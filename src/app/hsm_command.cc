#include "app/hsm_command.h"

#include <utility>

#include "app/exit_codes.h"
#include "app/host_cpus.h"
#include "app/service_signals.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "hsm/cuse_service.h"
#include "hypervisor/kvm/kvm_vm.h"

namespace cupule::app {
namespace {

base::Result<void> serve(const HsmOptions& options) {
    CUPULE_TRY_ASSIGN(const base::FileDescriptor signals, take_end_signals());
    hsm::ServiceParts parts{
        .make_vm =
            [](const hypervisor::VmSpec& spec) -> base::Result<std::unique_ptr<hypervisor::Vm>> {
            CUPULE_TRY_ASSIGN(auto vm,
                              hypervisor::KvmVm::create(spec, hypervisor::KvmIrqchip::split));
            return vm;
        },
        .cpus = {},
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
