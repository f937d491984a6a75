#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "base/bits.h"
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

    /// The same for the only buffer of a chain, which most have.
    QueueFault add_only(std::uint64_t address, std::uint32_t length, bool writable);

    /// Adds the buffers of an indirect table. `flags` are those of the descriptor that names it;
    /// its WRITE flag is ignored (2.7.5.3.2). Split tables are linked (2.7.5.3), packed ones are
    /// used whole and in order (2.8.7).
    QueueFault add_split_table(const SplitDescriptor& table);
    QueueFault add_packed_table(const PackedDescriptor& table);

  private:
    /// The bytes of the table that a descriptor names.
    std::expected<std::span<std::byte>, QueueFault> table_of(std::uint64_t address,
                                                             std::uint32_t length,
                                                             std::uint16_t flags) const;
    /// The longest part of [address, address + size) that starts at its start and lies in one piece
    /// of RAM. Empty when RAM does not hold `address`. Cannot wrap: a piece ends below 2^64.
    std::span<std::byte> ram_prefix(std::uint64_t address, std::uint64_t size) const;
    QueueFault add_segment(std::span<std::byte> part, bool writable);
    /// A buffer that lies in more than one piece of RAM, or in none.
    QueueFault add_pieces(std::uint64_t address, std::uint64_t left, bool writable);
    void grow();

    /// 2.7.5.2: no chain longer than 2^32 bytes in total.
    static constexpr std::uint64_t chain_bytes_max = std::uint64_t{1} << 32;

    const memory::GuestMemory& memory_;
    ChainSlot& slot_;
    std::uint16_t segments_max_;
    bool indirect_;
};

// What each buffer goes through, where the rings can see it.

inline QueueFault ChainBuilder::add(std::uint64_t address, std::uint32_t length, bool writable) {
    if (length == 0) {
        return QueueFault::zero_length;
    }
    if (!writable && slot_.writable_count > 0) {
        return QueueFault::readable_after_writable;
    }
    (writable ? slot_.writable_bytes : slot_.readable_bytes) += length;
    if (slot_.readable_bytes + slot_.writable_bytes > chain_bytes_max) {
        return QueueFault::too_many_bytes;
    }
    const std::span<std::byte> part = ram_prefix(address, length);
    return part.size() == length ? add_segment(part, writable)
                                 : add_pieces(address, length, writable);
}

inline QueueFault ChainBuilder::add_only(std::uint64_t address, std::uint32_t length,
                                         bool writable) {
    const std::span<std::byte> part = ram_prefix(address, length);
    if (part.size() != length || length == 0) {
        return add(address, length, writable);
    }
    slot_.segments[0] = {.iov_base = part.data(), .iov_len = length};
    if (writable) {
        slot_.writable_count = 1;
        slot_.writable_bytes = length;
    } else {
        slot_.readable_count = 1;
        slot_.readable_bytes = length;
    }
    return QueueFault::none;
}

inline std::span<std::byte> ChainBuilder::ram_prefix(std::uint64_t address,
                                                     std::uint64_t size) const {
    for (const memory::RamRegion& region : memory_.regions()) {
        const std::uint64_t offset = base::wrapping_sub(address, region.base.value);
        if (offset < region.size) {
            return {region.host + offset, std::min(size, region.size - offset)};
        }
    }
    return {};
}

inline QueueFault ChainBuilder::add_segment(std::span<std::byte> part, bool writable) {
    const std::uint32_t count = std::uint32_t{slot_.readable_count} + slot_.writable_count;
    if (count == segments_max_) {
        return QueueFault::too_many_segments;
    }
    if (count == slot_.capacity) {
        grow();
    }
    slot_.segments[count] = {.iov_base = part.data(), .iov_len = part.size()};
    ++(writable ? slot_.writable_count : slot_.readable_count);
    return QueueFault::none;
}

}  // namespace cupule::virtio
