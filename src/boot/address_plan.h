#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "boot/e820.h"

namespace cupule::boot {

/// Which guest RAM is still free while a guest is being loaded. It starts with the loader's own
/// block (boot_layout.h) taken, and nothing taken can be taken again: so no image can be laid over
/// another or over the boot data.
class AddressPlan {
  public:
    /// `low_ram_end`: end of the RAM below 4 GiB that images may use. `e820` must outlive the plan.
    AddressPlan(const E820Map& e820, std::uint64_t low_ram_end);

    /// Takes [base, base + size) for `what`. Fails, naming `what` and the reason, where the range
    /// wraps, is not all RAM or overlaps what is taken. Size 0 takes nothing.
    base::Result<void> claim(std::uint64_t base, std::uint64_t size, std::string what);

    /// The lowest free address at or above `from`, in RAM below `low_ram_end`, for `size` bytes.
    /// `alignment` is a power of two.
    std::optional<std::uint64_t> find_lowest(std::uint64_t size, std::uint64_t from,
                                             std::uint64_t alignment) const;

    /// The highest free page-aligned address for `size` bytes that end at or below `end_max`.
    std::optional<std::uint64_t> find_highest(std::uint64_t size, std::uint64_t end_max) const;

    std::uint64_t low_ram_end() const { return low_ram_end_; }
    const E820Map& e820() const { return e820_; }

  private:
    struct Range {
        std::uint64_t base = 0;
        std::uint64_t size = 0;
        std::string what{};
    };
    /// A taken range that shares bytes with [base, base + size), which does not wrap.
    const Range* overlapping(std::uint64_t base, std::uint64_t size) const;

    const E820Map& e820_;
    std::uint64_t low_ram_end_;
    std::vector<Range> taken_;
};

}  // namespace cupule::boot
