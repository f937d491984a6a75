#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace cupule::hypervisor {

/// A kernel structure that ends in a flexible array (kvm_cpuid2, kvm_msrs), with room for its
/// entries.
template <class Header, class Entry, std::size_t Capacity>
class KvmArray {
  public:
    Header& header() { return *reinterpret_cast<Header*>(storage_); }
    Entry* entries() { return reinterpret_cast<Entry*>(storage_ + sizeof(Header)); }

  private:
    static_assert(sizeof(Header) % alignof(Entry) == 0);
    alignas(Header) alignas(Entry) std::byte storage_[sizeof(Header) + Capacity * sizeof(Entry)]{};
};

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
