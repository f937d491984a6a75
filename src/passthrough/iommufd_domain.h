#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/mutex.h"
#include "passthrough/vfio_domain.h"
#include "passthrough/vfio_kernel.h"

namespace cupule::passthrough {

/// The IOMMU domain of one guest as an I/O address space of /dev/iommu, its devices as character
/// devices of their own (Linux 6.6, Documentation/userspace-api/iommufd.rst and
/// Documentation/driver-api/vfio.rst, "IOMMUFD and vfio_iommu_type1" and "VFIO device cdev").
class IommufdDomain : public VfioDomain {
  public:
    /// Both outlive it. The error says what this host lacks.
    static base::Result<std::unique_ptr<IommufdDomain>> create(VfioKernel& kernel,
                                                               Listener& listener);
    ~IommufdDomain() override;

    base::Result<void> admit(const VfioPlace& place) override CUPULE_EXCLUDES(mutex_);
    base::Result<base::FileDescriptor> open_device(const VfioPlace& place) override
        CUPULE_EXCLUDES(mutex_);
    void closing(const std::string& name) override CUPULE_EXCLUDES(mutex_);
    bool owns(const BusReset::Member& member) const override;
    /// The kernel knows whose the devices are.
    std::vector<int> reset_proof(const BusReset& /*bus*/) const override { return {}; }

    base::Result<void> map(memory::GuestAddress base, std::uint64_t size, std::byte* host) override;
    base::Result<void> unmap(memory::GuestAddress base, std::uint64_t size) override;

  private:
    IommufdDomain(VfioKernel& kernel, Listener& listener, base::FileDescriptor fd,
                  std::uint32_t space)
        : kernel_(kernel), listener_(listener), fd_(std::move(fd)), space_(space) {}
    base::Result<void> join(int device, const VfioPlace& place);

    VfioKernel& kernel_;
    Listener& listener_;
    const base::FileDescriptor fd_;
    const std::uint32_t space_;
    event::Mutex mutex_;
    /// By name: what KVM knows the devices by.
    std::map<std::string, base::FileDescriptor> devices_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::passthrough
