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

/// What a descriptor of a table names: a buffer, never another table.
template <class Descriptor>
QueueFault add_entry(ChainBuilder& builder, const Descriptor& entry) {
    if ((entry.flags & descriptor_flag::indirect) != 0) {
        return QueueFault::indirect_nested;
    }
    return builder.add(entry.address, entry.length, (entry.flags & descriptor_flag::write) != 0);
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

std::expected<std::span<std::byte>, QueueFault> ChainBuilder::table_of(std::uint64_t address,
                                                                       std::uint32_t length,
                                                                       std::uint16_t flags) const {
    if (!indirect_) {
        return std::unexpected(QueueFault::indirect_not_negotiated);
    }
    if ((flags & descriptor_flag::next) != 0) {
        return std::unexpected(QueueFault::indirect_and_next);
    }
    if (length == 0 || length % descriptor_size != 0) {
        return std::unexpected(QueueFault::indirect_bad_size);
    }
    const std::span<std::byte> bytes = memory_.span({address}, length);
    if (bytes.empty()) {
        return std::unexpected(QueueFault::indirect_outside_ram);
    }
    return bytes;
}

QueueFault ChainBuilder::add_split_table(const SplitDescriptor& table) {
    const auto bytes = table_of(table.address, table.length, table.flags);
    if (!bytes) {
        return bytes.error();
    }
    const std::uint32_t entries = table.length / descriptor_size;
    std::uint32_t index = 0;
    for (std::uint32_t count = 0; count < entries; ++count) {
        const auto entry = copy_descriptor<SplitDescriptor>(*bytes, index);
        if (const QueueFault fault = add_entry(*this, entry); fault != QueueFault::none) {
            return fault;
        }
        if ((entry.flags & descriptor_flag::next) == 0) {
            return QueueFault::none;
        }
        index = entry.next;
        if (index >= entries) {
            return QueueFault::next_out_of_range;
        }
    }
    return QueueFault::chain_loops;
}

QueueFault ChainBuilder::add_packed_table(const PackedDescriptor& table) {
    const auto bytes = table_of(table.address, table.length, table.flags);
    if (!bytes) {
        return bytes.error();
    }
    for (std::uint32_t index = 0; index < table.length / descriptor_size; ++index) {
        const auto entry = copy_descriptor<PackedDescriptor>(*bytes, index);
        if (const QueueFault fault = add_entry(*this, entry); fault != QueueFault::none) {
            return fault;
        }
    }
    return QueueFault::none;
}

}  // namespace cupule::virtio
