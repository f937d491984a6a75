#include "boot/e820.h"

#include <algorithm>
#include <limits>

#include "base/bits.h"

namespace cupule::boot {
namespace {

base::Result<void> check_range(const E820Entry& entry) {
    if (entry.size == 0) {
        return base::fail("memory map: the {} range at {:#x} is empty", name_of(entry.type),
                          entry.base);
    }
    if (entry.size > std::numeric_limits<std::uint64_t>::max() - entry.base) {
        return base::fail("memory map: the {} range at {:#x} of {:#x} bytes ends past 2^64",
                          name_of(entry.type), entry.base, entry.size);
    }
    return {};
}

bool overlap(const E820Entry& a, const E820Entry& b) {
    return a.base < b.end() && b.base < a.end();
}

}  // namespace

std::string_view name_of(E820Type type) {
    switch (type) {
        case E820Type::ram:
            return "RAM";
        case E820Type::reserved:
            return "reserved";
        case E820Type::acpi_tables:
            return "ACPI tables";
        case E820Type::acpi_nvs:
            return "ACPI NVS";
        case E820Type::unusable:
            return "unusable";
        case E820Type::persistent_memory:
            return "persistent memory";
    }
    return "unknown";
}

base::Result<void> E820Map::add(const E820Entry& entry) {
    CUPULE_TRY(check_range(entry));
    for (const E820Entry& other : entries_) {
        if (overlap(entry, other)) {
            return base::fail("memory map: {} {:#x}-{:#x} overlaps {} {:#x}-{:#x}",
                              name_of(entry.type), entry.base, entry.end(), name_of(other.type),
                              other.base, other.end());
        }
    }
    insert(entry);
    return {};
}

base::Result<void> E820Map::carve(const E820Entry& entry) {
    CUPULE_TRY(check_range(entry));
    std::vector<E820Entry> kept;
    for (const E820Entry& other : entries_) {
        if (!overlap(entry, other)) {
            kept.push_back(other);
            continue;
        }
        if (other.base < entry.base) {
            kept.push_back({other.base, entry.base - other.base, other.type});
        }
        if (other.end() > entry.end()) {
            kept.push_back({entry.end(), other.end() - entry.end(), other.type});
        }
    }
    entries_ = std::move(kept);
    insert(entry);
    return {};
}

void E820Map::insert(const E820Entry& entry) {
    const auto after = std::ranges::lower_bound(entries_, entry.base, {}, &E820Entry::base);
    auto at = entries_.insert(after, entry);
    const auto joins = [](const E820Entry& low, const E820Entry& high) {
        return low.type == high.type && low.end() == high.base;
    };
    if (at + 1 != entries_.end() && joins(*at, *(at + 1))) {
        at->size += (at + 1)->size;
        at = entries_.erase(at + 1) - 1;
    }
    if (at != entries_.begin() && joins(*(at - 1), *at)) {
        (at - 1)->size += at->size;
        entries_.erase(at);
    }
}

bool E820Map::is_ram(std::uint64_t base, std::uint64_t size) const {
    return std::ranges::any_of(entries_, [&](const E820Entry& entry) {
        return entry.type == E820Type::ram && base::contains(entry.base, entry.size, base, size);
    });
}

std::uint64_t E820Map::ram_end_from(std::uint64_t address) const {
    for (const E820Entry& entry : entries_) {
        if (entry.type == E820Type::ram && entry.base <= address && address < entry.end()) {
            return entry.end();
        }
    }
    return address;
}

std::uint64_t E820Map::ram_size() const {
    std::uint64_t sum = 0;
    for (const E820Entry& entry : entries_) {
        sum += entry.type == E820Type::ram ? entry.size : 0;
    }
    return sum;
}

}  // namespace cupule::boot
