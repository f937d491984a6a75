#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "backend/block_store.h"
#include "base/assert.h"
#include "base/bits.h"
#include "memory/guest_copy.h"
#include "memory/guest_memory.h"

namespace cupule::fuzz {

/// A disk in memory that believes nothing: what reaches it must lie on the disk, and in the first
/// region of `memory`, which outlives it, where that is given.
class CheckedStore : public backend::BlockStore {
  public:
    static constexpr std::uint64_t disk_bytes = 64 << 10;

    explicit CheckedStore(const memory::GuestMemory* memory = nullptr) : memory_(memory) {}
    std::uint64_t size() const override { return bytes_.size(); }
    base::Result<void> read(std::span<const iovec> to, std::uint64_t at) override {
        for (const iovec& segment : to) {
            memory::copy_to_guest(static_cast<std::byte*>(segment.iov_base), part(at, segment));
            at += segment.iov_len;
        }
        return {};
    }
    base::Result<void> write(std::span<const iovec> from, std::uint64_t at) override {
        for (const iovec& segment : from) {
            memory::copy_from_guest(part(at, segment), static_cast<std::byte*>(segment.iov_base));
            at += segment.iov_len;
        }
        return {};
    }
    base::Result<void> flush() override { return {}; }
    base::Result<void> discard(std::uint64_t at, std::uint64_t length) override {
        CUPULE_ASSERT(base::contains(0, disk_bytes, at, length));
        return {};
    }
    base::Result<void> write_zeroes(std::uint64_t at, std::uint64_t length, bool) override {
        CUPULE_ASSERT(base::contains(0, disk_bytes, at, length));
        std::memset(bytes_.data() + at, 0, length);
        return {};
    }

  private:
    std::span<std::byte> part(std::uint64_t at, const iovec& segment) {
        if (memory_ != nullptr) {
            const auto* const start = static_cast<const std::byte*>(segment.iov_base);
            const memory::RamRegion& ram = memory_->regions().front();
            CUPULE_ASSERT(start >= ram.host && segment.iov_len <= ram.size &&
                          start <= ram.host + (ram.size - segment.iov_len));
        }
        CUPULE_ASSERT(base::contains(0, disk_bytes, at, segment.iov_len));
        return std::span(bytes_).subspan(at, segment.iov_len);
    }
    const memory::GuestMemory* memory_;
    std::array<std::byte, disk_bytes> bytes_{};
};

}  // namespace cupule::fuzz
