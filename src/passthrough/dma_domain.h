#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "memory/guest_memory.h"

namespace cupule::passthrough {

/// The memory that a guest's devices can reach by DMA, at guest physical addresses. Control thread.
class DmaDomain {
  public:
    virtual ~DmaDomain() = default;
    /// Lets devices reach [base, base + size), whose pages stay in memory until `unmap`.
    virtual base::Result<void> map(memory::GuestAddress base, std::uint64_t size,
                                   std::byte* host) = 0;
    virtual base::Result<void> unmap(memory::GuestAddress base, std::uint64_t size) = 0;
};

/// Maps all RAM of a guest, or nothing: what was mapped before a refusal is unmapped again.
base::Result<void> map_guest_memory(DmaDomain& domain, const memory::GuestMemory& memory);
base::Result<void> unmap_guest_memory(DmaDomain& domain, const memory::GuestMemory& memory);

}  // namespace cupule::passthrough
