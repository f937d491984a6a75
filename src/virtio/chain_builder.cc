#include "virtio/chain_builder.h"

#include <algorithm>

#include "memory/guest_copy.h"

namespace cupule::virtio {
namespace {

/// One descriptor of a table that may lie at any address (2.7.5.3 asks for no alignment).
template <class Descriptor>
Descriptor copy_descriptor(std::span<std::byte> table, std::uint32_t index) {
    Descriptor copy;
    memory::copy_from_guest(std::as_writable_bytes(std::span(&copy, 1)),
                            table.subspan(std::size_t{index} * descriptor_size).data());
    return copy;
}

}  // namespace

QueueFault ChainBuilder::add_pieces(std::uint64_t address, std::uint64_t left, bool writable) {
    while (left > 0) {
        const std::span<std::byte> part = ram_prefix(address, left);
        if (part.empty()) {
            return QueueFault::buffer_outside_ram;
        }
        if (const QueueFault fault = add_segment(part, writable); fault != QueueFault::none) {
            return fault;
        }
        address += part.size();
        left -= part.size();
    }
    return QueueFault::none;
}

void ChainBuilder::grow() {
    // Bounded by segments_max: doubling starts at 4 and the count is checked before.
    const std::uint32_t capacity = slot_.capacity * 2;
    auto bigger = std::make_unique<iovec[]>(capacity);
    std::copy_n(slot_.segments, slot_.capacity, bigger.get());
    slot_.overflow = std::move(bigger);
    slot_.segments = slot_.overflow.get();
    slot_.capacity = capacity;
}

QueueFault ChainBuilder::check_table(std::uint16_t flags, std::uint32_t length) const {
    if (!indirect_) {
        return QueueFault::indirect_not_negotiated;
    }
    if ((flags & descriptor_flag::next) != 0) {
        return QueueFault::indirect_and_next;
    }
    if (length == 0 || length % descriptor_size != 0) {
        return QueueFault::indirect_bad_size;
    }
    return QueueFault::none;
}

QueueFault ChainBuilder::add_split_table(const SplitDescriptor& table) {
    if (const QueueFault fault = check_table(table.flags, table.length);
        fault != QueueFault::none) {
        return fault;
    }
    const std::span<std::byte> bytes = memory_.span({table.address}, table.length);
    if (bytes.empty()) {
        return QueueFault::indirect_outside_ram;
    }
    const std::uint32_t entries = table.length / descriptor_size;
    std::uint32_t index = 0;
    for (std::uint32_t count = 0; count < entries; ++count) {
        const auto descriptor = copy_descriptor<SplitDescriptor>(bytes, index);
        if ((descriptor.flags & descriptor_flag::indirect) != 0) {
            return QueueFault::indirect_nested;
        }
        const QueueFault fault = add(descriptor.address, descriptor.length,
                                     (descriptor.flags & descriptor_flag::write) != 0);
        if (fault != QueueFault::none) {
            return fault;
        }
        if ((descriptor.flags & descriptor_flag::next) == 0) {
            return QueueFault::none;
        }
        index = descriptor.next;
        if (index >= entries) {
            return QueueFault::next_out_of_range;
        }
    }
    return QueueFault::chain_loops;
}

QueueFault ChainBuilder::add_packed_table(const PackedDescriptor& table) {
    if (const QueueFault fault = check_table(table.flags, table.length);
        fault != QueueFault::none) {
        return fault;
    }
    const std::span<std::byte> bytes = memory_.span({table.address}, table.length);
    if (bytes.empty()) {
        return QueueFault::indirect_outside_ram;
    }
    const std::uint32_t entries = table.length / descriptor_size;
    for (std::uint32_t index = 0; index < entries; ++index) {
        const auto descriptor = copy_descriptor<PackedDescriptor>(bytes, index);
        if ((descriptor.flags & descriptor_flag::indirect) != 0) {
            return QueueFault::indirect_nested;
        }
        const QueueFault fault = add(descriptor.address, descriptor.length,
                                     (descriptor.flags & descriptor_flag::write) != 0);
        if (fault != QueueFault::none) {
            return fault;
        }
    }
    return QueueFault::none;
}

}  // namespace cupule::virtio
