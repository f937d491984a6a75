#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace cupule::hypervisor {

/// A list as KVM takes it: a count, padding, entries. The uapi structures end in a flexible array
/// whose C++ form has another size, which also goes wrong in the ioctl numbers: both are written
/// out here.
template <class Entry, std::size_t Capacity>
struct KvmList {
    std::uint32_t count = 0;
    std::uint32_t padding = 0;
    Entry entries[Capacity]{};
};

template <std::size_t Capacity>
struct KvmMsrIndexList {
    std::uint32_t count = 0;
    std::uint32_t indices[Capacity]{};
};

inline constexpr unsigned kvm_list_header_size = 8;
inline constexpr unsigned long kvm_get_msr_index_list =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x02, sizeof(std::uint32_t));
inline constexpr unsigned long kvm_get_supported_cpuid =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, kvm_list_header_size);
inline constexpr unsigned long kvm_set_gsi_routing =
    _IOC(_IOC_WRITE, KVMIO, 0x6A, kvm_list_header_size);
inline constexpr unsigned long kvm_get_msrs =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, kvm_list_header_size);
inline constexpr unsigned long kvm_set_msrs = _IOC(_IOC_WRITE, KVMIO, 0x89, kvm_list_header_size);
inline constexpr unsigned long kvm_set_cpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, kvm_list_header_size);

inline constexpr std::size_t cpuid_entries_max = 256;
inline constexpr std::size_t msr_entries_max = 512;

struct KvmCpuid {
    std::vector<kvm_cpuid_entry2> entries{};
};

/// The KVM of this host (Linux Documentation/virt/kvm/api.rst). Any thread.
class KvmDevice {
  public:
    /// Opens `/dev/kvm` and checks the API version and the capabilities that have no substitute.
    static base::Result<std::unique_ptr<KvmDevice>> open();

    int fd() const { return fd_.get(); }
    /// KVM_CHECK_EXTENSION; 0 when the host's kernel lacks it.
    int extension(int capability) const;
    /// Bytes of the shared kvm_run mapping of a vCPU.
    std::size_t run_size() const { return run_size_; }
    /// How many vCPUs one VM may have.
    unsigned vcpus_max() const;
    /// What KVM supports, with the name of the host's processor.
    base::Result<KvmCpuid> supported_cpuid() const;
    /// The MSRs that save and restore a vCPU.
    base::Result<std::vector<std::uint32_t>> msr_indices() const;

  private:
    KvmDevice(base::FileDescriptor fd, std::size_t run_size);
    base::FileDescriptor fd_;
    std::size_t run_size_;
};

/// ioctl that starts again when a signal interrupted it. -1 and errno as ioctl(2).
int kvm_ioctl(int fd, unsigned long request, std::uintptr_t argument);

template <class T>
int kvm_ioctl(int fd, unsigned long request, T* argument) {
    return kvm_ioctl(fd, request, reinterpret_cast<std::uintptr_t>(argument));
}

}  // namespace cupule::hypervisor
