#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace cupule::passthrough {

/// Behind the last address that a page table of x86 can name.
inline constexpr std::uint64_t physical_address_end = std::uint64_t{1} << 52;

/// Physical addresses of the host that one owner has, from /proc/iomem.
struct HostRange {
    std::uint64_t base = 0;
    std::uint64_t size = 0;  // bytes, never 0
    /// "System RAM", "0000:00:02.0", "MSFT0101:00"
    std::string name{};

    std::uint64_t last() const { return base + (size - 1); }
    bool overlaps(std::uint64_t other_base, std::uint64_t other_size) const {
        return base <= other_base + (other_size - 1) && other_base <= last();
    }
    bool holds(const HostRange& other) const {
        return base <= other.base && last() >= other.last();
    }
};

/// The host's map of physical addresses, outer ranges before those inside them. The error is that
/// this process may not see it: addresses read as zero without CAP_SYS_ADMIN. `root` as for
/// HostTopology::read.
base::Result<std::vector<HostRange>> read_host_memory_map(const std::string& root = {});

/// Physical memory of the host in this process, uncached: through /dev/mem, as far as the kernel
/// lets it.
class HostMapping {
  public:
    /// `base` and `size` are multiples of 4 KiB. The error names the range, what forbids it and the
    /// mend. Tests name another file than /dev/mem.
    static base::Result<HostMapping> map(std::uint64_t base, std::uint64_t size,
                                         const std::string& path = "/dev/mem");
    HostMapping(HostMapping&& other) noexcept;
    HostMapping& operator=(HostMapping&&) = delete;
    ~HostMapping();

    std::byte* data() const { return data_; }
    std::uint64_t size() const { return size_; }

  private:
    HostMapping(std::byte* data, std::uint64_t size) : data_(data), size_(size) {}

    std::byte* data_;
    std::uint64_t size_;
};

}  // namespace cupule::passthrough
