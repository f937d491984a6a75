#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "passthrough/vfio_domain.h"

namespace cupule::passthrough {

/// The IOMMU domain of one guest: a VFIO container of type 1 version 2 and the IOMMU groups in it
/// (Linux Documentation/driver-api/vfio.rst). Closing it takes the devices out of
/// the domain and unmaps everything.
class VfioContainer : public VfioDomain {
  public:
    /// The error names the module or permission that this host lacks. `listener` outlives it.
    static base::Result<std::unique_ptr<VfioContainer>> create(Listener& listener);
    ~VfioContainer() override;

    /// Takes the IOMMU group in, all of whose devices must be VFIO's or nobody's.
    base::Result<void> admit(const VfioPlace& place) override;
    base::Result<base::FileDescriptor> open_device(const VfioPlace& place) override;
    /// A group stays.
    void closing(const std::string& /*name*/) override {}

    /// Needs a group.
    base::Result<void> map(memory::GuestAddress base, std::uint64_t size, std::byte* host) override;
    base::Result<void> unmap(memory::GuestAddress base, std::uint64_t size) override;

  private:
    VfioContainer(Listener& listener, base::FileDescriptor fd)
        : listener_(listener), fd_(std::move(fd)) {}
    base::Result<void> add_group(unsigned group);

    Listener& listener_;
    base::FileDescriptor fd_;
    std::map<unsigned, base::FileDescriptor> groups_;
};

}  // namespace cupule::passthrough
