#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "passthrough/vfio_domain.h"
#include "passthrough/vfio_kernel.h"

namespace cupule::passthrough {

/// The IOMMU domain of one guest: a VFIO container of type 1 version 2 and the IOMMU groups in it
/// (Linux Documentation/driver-api/vfio.rst). Closing it takes the devices out of
/// the domain and unmaps everything.
class VfioContainer : public VfioDomain {
  public:
    /// The error names the module or permission that this host lacks. Both outlive it.
    static base::Result<std::unique_ptr<VfioContainer>> create(VfioKernel& kernel,
                                                               Listener& listener);
    ~VfioContainer() override;

    /// Takes the IOMMU group in, all of whose devices must be VFIO's or nobody's.
    base::Result<void> admit(const VfioPlace& place) override;
    base::Result<base::FileDescriptor> open_device(const VfioPlace& place) override;
    /// A group stays.
    void closing(const std::string& /*name*/) override {}
    bool owns(const BusReset::Member& member) const override {
        return groups_.contains(member.owner);
    }
    std::vector<int> reset_proof(const BusReset& bus) const override;

    /// Needs a group.
    base::Result<void> map(memory::GuestAddress base, std::uint64_t size, std::byte* host) override;
    base::Result<void> unmap(memory::GuestAddress base, std::uint64_t size) override;

  private:
    VfioContainer(VfioKernel& kernel, Listener& listener, base::FileDescriptor fd)
        : kernel_(kernel), listener_(listener), fd_(std::move(fd)) {}
    base::Result<void> add_group(unsigned group);

    VfioKernel& kernel_;
    Listener& listener_;
    base::FileDescriptor fd_;
    std::map<unsigned, base::FileDescriptor> groups_;
};

}  // namespace cupule::passthrough
