#include "boot/address_plan.h"

#include <algorithm>
#include <limits>
#include <ranges>

#include "base/bits.h"
#include "boot/boot_layout.h"

namespace cupule::boot {

AddressPlan::AddressPlan(const E820Map& e820, std::uint64_t low_ram_end)
    : e820_(e820), low_ram_end_(std::min(low_ram_end, four_gibibytes)) {
    taken_.push_back({boot_data_address, boot_data_size, "the loader's boot data"});
}

const AddressPlan::Range* AddressPlan::overlapping(std::uint64_t base, std::uint64_t size) const {
    for (const Range& range : taken_) {
        if (base < range.base + range.size && range.base < base + size) {
            return &range;
        }
    }
    return nullptr;
}

base::Result<void> AddressPlan::claim(std::uint64_t base, std::uint64_t size, std::string what) {
    if (size == 0) {
        return {};
    }
    if (size > std::numeric_limits<std::uint64_t>::max() - base) {
        return base::fail("{} at {:#x} with {:#x} bytes ends past 2^64", what, base, size);
    }
    if (!e820_.is_ram(base, size)) {
        return base::fail(
            "{} needs {:#x}-{:#x}, which is not all RAM of the guest (it has {} MiB, RAM below 4 "
            "GiB ends at {:#x}); give the guest more memory",
            what, base, base + size, e820_.ram_size() >> 20, low_ram_end_);
    }
    if (const Range* other = overlapping(base, size)) {
        return base::fail("{} at {:#x}-{:#x} overlaps {} at {:#x}-{:#x}", what, base, base + size,
                          other->what, other->base, other->base + other->size);
    }
    taken_.push_back({base, size, std::move(what)});
    return {};
}

std::optional<std::uint64_t> AddressPlan::find_lowest(std::uint64_t size, std::uint64_t from,
                                                      std::uint64_t alignment) const {
    for (const E820Entry& entry : e820_.entries()) {
        if (entry.type != E820Type::ram || entry.base >= low_ram_end_) {
            continue;
        }
        const std::uint64_t end = std::min(entry.end(), low_ram_end_);
        std::uint64_t start = std::max(entry.base, from);
        // Each turn leaves one taken range behind; sums stay small because `end` is below 2^32.
        while (start < end) {
            start = base::align_up(start, alignment);
            if (!base::contains(0, end, start, size)) {
                break;
            }
            const Range* other = overlapping(start, size);
            if (other == nullptr) {
                return start;
            }
            start = other->base + other->size;
        }
    }
    return std::nullopt;
}

std::optional<std::uint64_t> AddressPlan::find_highest(std::uint64_t size,
                                                       std::uint64_t end_max) const {
    for (const E820Entry& entry : std::views::reverse(e820_.entries())) {
        if (entry.type != E820Type::ram) {
            continue;
        }
        std::uint64_t end = std::min(entry.end(), end_max);
        while (end > entry.base && end - entry.base >= size) {
            const std::uint64_t start = base::align_down(end - size, memory::page_size);
            if (start < entry.base) {
                break;
            }
            const Range* other = overlapping(start, size);
            if (other == nullptr) {
                return start;
            }
            end = other->base;
        }
    }
    return std::nullopt;
}

}  // namespace cupule::boot
