#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "passthrough/dma_domain.h"

namespace cupule::passthrough {

/// The IOMMU domain of one guest: a VFIO container of type 1 version 2 and the IOMMU groups in it
/// (Linux Documentation/driver-api/vfio.rst). Control thread. Closing it takes the devices out of
/// the domain and unmaps everything.
class VfioContainer : public DmaDomain {
  public:
    /// The error names the module or permission that this host lacks.
    static base::Result<std::unique_ptr<VfioContainer>> create();

    /// Takes an IOMMU group in, all of whose devices must be VFIO's or nobody's; nothing happens
    /// when it is in already.
    base::Result<void> add_group(unsigned group);
    /// The descriptors of the groups that are in.
    std::vector<int> group_descriptors() const;
    /// The device's descriptor. `group` was added; `name`: "0000:00:02.0".
    base::Result<base::FileDescriptor> open_device(unsigned group, const std::string& name);

    /// Needs a group.
    base::Result<void> map(memory::GuestAddress base, std::uint64_t size, std::byte* host) override;
    base::Result<void> unmap(memory::GuestAddress base, std::uint64_t size) override;

  private:
    explicit VfioContainer(base::FileDescriptor fd) : fd_(std::move(fd)) {}

    base::FileDescriptor fd_;
    std::map<unsigned, base::FileDescriptor> groups_;
};

}  // namespace cupule::passthrough
