#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "memory/guest_memory.h"

namespace cupule::passthrough {

/// The memory that a guest's devices can reach by DMA, at guest physical addresses. Any thread, one
/// at a time.
class DmaDomain {
  public:
    virtual ~DmaDomain() = default;
    /// Lets devices reach [base, base + size), whose pages stay in memory until `unmap`.
    virtual base::Result<void> map(memory::GuestAddress base, std::uint64_t size,
                                   std::byte* host) = 0;
    /// A range that begins and ends where ranges that were mapped do; it may hold several.
    virtual base::Result<void> unmap(memory::GuestAddress base, std::uint64_t size) = 0;
};

/// Of guest memory, mapped in one call: as large as an IOMMU's largest page, and soon done.
inline constexpr std::uint64_t dma_piece_size = std::uint64_t{1} << 30;

/// Maps all RAM of a guest, or nothing: what was mapped before a refusal is unmapped again, and
/// before `stopping` became true.
base::Result<void> map_guest_memory(DmaDomain& domain, const memory::GuestMemory& memory,
                                    const std::atomic<bool>& stopping);
base::Result<void> unmap_guest_memory(DmaDomain& domain, const memory::GuestMemory& memory);

/// Whether this process may keep `size` bytes in memory for its devices, besides what it keeps now:
/// the limit that `map` would meet later, said beforehand.
base::Result<void> check_locked_memory(std::uint64_t size);

}  // namespace cupule::passthrough
