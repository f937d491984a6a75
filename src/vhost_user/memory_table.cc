#include "vhost_user/memory_table.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"

namespace cupule::vhost_user {

base::Result<std::unique_ptr<MemoryTable>> MemoryTable::map(const Message& message) {
    std::unique_ptr<MemoryTable> table(new MemoryTable);
    std::vector<memory::SharedPiece> pieces;
    for (std::size_t i = 0; i < message.descriptors.size(); ++i) {
        const auto region =
            message.get<MemoryRegion>(sizeof(MemoryTableHead) + i * sizeof(MemoryRegion));
        if (region.size > ~region.user_address) {
            return base::fail("the front end's address {:#x} of {:#x} bytes of RAM wraps",
                              region.user_address, region.size);
        }
        pieces.push_back({.base = {region.guest_address},
                          .size = region.size,
                          .file = message.descriptors[i].get(),
                          .file_offset = region.file_offset});
        table->regions_.push_back(region);
    }
    CUPULE_TRY_ASSIGN(table->memory_, memory::GuestMemory::map(pieces));
    for (const std::span<std::byte> mapping : table->memory_->mappings()) {
        CUPULE_TRY_ASSIGN(auto guard, FaultGuard::create(mapping));
        table->guards_.push_back(std::move(guard));
    }
    return table;
}

std::optional<memory::GuestAddress> MemoryTable::guest_address(std::uint64_t user_address) const {
    const auto found = std::ranges::find_if(regions_, [&](const MemoryRegion& region) {
        return base::contains(region.user_address, region.size, user_address, 1);
    });
    if (found == regions_.end()) {
        return std::nullopt;
    }
    return memory::GuestAddress{found->guest_address + (user_address - found->user_address)};
}

bool MemoryTable::broken() const {
    return std::ranges::any_of(guards_, &FaultGuard::faulted);
}

}  // namespace cupule::vhost_user
