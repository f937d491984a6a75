#include "hypervisor/kvm/kvm_device.h"

#include <cpuid.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace cupule::hypervisor {
namespace {

struct Requirement {
    int capability;
    const char* name;
};

constexpr std::array requirements{
    Requirement{KVM_CAP_IRQCHIP, "in-kernel interrupt controllers"},
    Requirement{KVM_CAP_USER_MEMORY, "user memory regions"},
    Requirement{KVM_CAP_IOEVENTFD, "ioeventfd"},
    Requirement{KVM_CAP_IRQFD, "irqfd"},
    Requirement{KVM_CAP_IRQ_ROUTING, "interrupt routing"},
    Requirement{KVM_CAP_SIGNAL_MSI, "message-signalled interrupts"},
    Requirement{KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
    Requirement{KVM_CAP_EXT_CPUID, "CPUID configuration"},
};

/// KVM leaves the processor's name out (leaves 8000_0002H to 8000_0004H): it is the host's.
void name_processor(kvm_cpuid_entry2& entry) {
    constexpr std::uint32_t first = 0x8000'0002;
    constexpr std::uint32_t last = 0x8000'0004;
    if (entry.function >= first && entry.function <= last) {
        __cpuid(entry.function, entry.eax, entry.ebx, entry.ecx, entry.edx);
    }
}

}  // namespace

int kvm_ioctl(int fd, unsigned long request, std::uintptr_t argument) {
    int result = 0;
    do {
        result = ::ioctl(fd, request, argument);
    } while (result < 0 && errno == EINTR);
    return result;
}

base::Result<std::unique_ptr<KvmDevice>> KvmDevice::open() {
    CUPULE_TRY_ASSIGN(base::FileDescriptor fd, base::open_file("/dev/kvm", O_RDWR));
    const int version = kvm_ioctl(fd.get(), KVM_GET_API_VERSION, std::uintptr_t{0});
    if (version != KVM_API_VERSION) {
        return base::fail("/dev/kvm offers API version {}, version {} is needed", version,
                          KVM_API_VERSION);
    }
    const int run_size = kvm_ioctl(fd.get(), KVM_GET_VCPU_MMAP_SIZE, std::uintptr_t{0});
    if (run_size < 0) {
        return base::fail_errno(errno, "KVM does not tell the size of its vCPU mapping");
    }
    std::unique_ptr<KvmDevice> device(
        new KvmDevice(std::move(fd), static_cast<std::size_t>(run_size)));
    for (const Requirement& requirement : requirements) {
        if (device->extension(requirement.capability) <= 0) {
            return base::fail("this host's KVM lacks {} (capability {})", requirement.name,
                              requirement.capability);
        }
    }
    return device;
}

KvmDevice::KvmDevice(base::FileDescriptor fd, std::size_t run_size)
    : fd_(std::move(fd)), run_size_(run_size) {}

int KvmDevice::extension(int capability) const {
    const int value =
        kvm_ioctl(fd_.get(), KVM_CHECK_EXTENSION, static_cast<std::uintptr_t>(capability));
    return value < 0 ? 0 : value;
}

unsigned KvmDevice::vcpus_max() const {
    const int maximum = extension(KVM_CAP_MAX_VCPUS);
    const int recommended = extension(KVM_CAP_NR_VCPUS);
    // api.rst 4.4: without either capability the limit is 4.
    return static_cast<unsigned>(maximum > 0 ? maximum : recommended > 0 ? recommended : 4);
}

base::Result<KvmCpuid> KvmDevice::supported_cpuid() const {
    const auto buffer = std::make_unique<KvmList<kvm_cpuid_entry2, cpuid_entries_max>>();
    buffer->count = cpuid_entries_max;
    if (kvm_ioctl(fd_.get(), kvm_get_supported_cpuid, buffer.get()) < 0) {
        return base::fail_errno(errno, "KVM does not tell the CPUID it supports");
    }
    KvmCpuid cpuid{{buffer->entries, buffer->entries + buffer->count}};
    std::ranges::for_each(cpuid.entries, name_processor);
    return cpuid;
}

base::Result<std::vector<std::uint32_t>> KvmDevice::msr_indices() const {
    const auto buffer = std::make_unique<KvmMsrIndexList<msr_entries_max>>();
    buffer->count = msr_entries_max;
    if (kvm_ioctl(fd_.get(), kvm_get_msr_index_list, buffer.get()) < 0) {
        return base::fail_errno(errno, "KVM does not tell which MSRs it keeps");
    }
    return std::vector<std::uint32_t>{buffer->indices, buffer->indices + buffer->count};
}

}  // namespace cupule::hypervisor
