#pragma once

#include <cstdint>

#include "memory/guest_memory.h"
#include "virtio/descriptor_chain.h"
#include "virtio/ring_layout.h"

namespace cupule::virtio {

/// What a device takes from a driver at most.
struct QueueLimits {
    /// Descriptors; what the transport offers as queue size. 1 to queue_size_limit, a power of two
    /// where split rings are offered.
    std::uint16_t size_max = 256;
    /// Buffers of one request, direct and indirect; bounds the memory a request can take here.
    std::uint16_t segments_max = 1024;
};

/// The one place where descriptors become checked buffers: each is given to it as a private copy,
/// read once from the ring or the table. A fault ends the chain.
class ChainBuilder {
  public:
    ChainBuilder(const memory::GuestMemory& memory, std::uint16_t segments_max, bool indirect,
                 ChainSlot& slot)
        : memory_(memory), slot_(slot), segments_max_(segments_max), indirect_(indirect) {}

    ChainSlot& slot() { return slot_; }

    /// Adds one buffer: not empty, wholly RAM, readable before writable, and within the limits. A
    /// buffer that goes from one piece of RAM into the next without a hole becomes two segments.
    QueueFault add(std::uint64_t address, std::uint32_t length, bool writable);

    /// Adds the buffers of an indirect table. `flags` are those of the descriptor that names it;
    /// its WRITE flag is ignored (2.7.5.3.2). Split tables are linked (2.7.5.3), packed ones are
    /// used whole and in order (2.8.7).
    QueueFault add_split_table(const SplitDescriptor& table);
    QueueFault add_packed_table(const PackedDescriptor& table);

  private:
    QueueFault check_table(std::uint16_t flags, std::uint32_t length) const;
    QueueFault add_segment(std::span<std::byte> part, bool writable);
    void grow();

    const memory::GuestMemory& memory_;
    ChainSlot& slot_;
    std::uint16_t segments_max_;
    bool indirect_;
};

}  // namespace cupule::virtio
