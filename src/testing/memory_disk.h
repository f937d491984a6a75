#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "backend/block_store.h"
#include "memory/guest_copy.h"

namespace cupule::testing {

/// A disk in host memory.
class MemoryDisk : public backend::BlockStore {
  public:
    explicit MemoryDisk(std::size_t bytes = 1 << 20) : bytes_(bytes) {}
    std::uint64_t size() const override { return bytes_.size(); }
    base::Result<void> read(std::span<const iovec> to, std::uint64_t at) override {
        for (const iovec& each : to) {
            memory::copy_to_guest(static_cast<std::byte*>(each.iov_base),
                                  std::span(bytes_).subspan(at, each.iov_len));
            at += each.iov_len;
        }
        return {};
    }
    base::Result<void> write(std::span<const iovec> from, std::uint64_t at) override {
        for (const iovec& each : from) {
            memory::copy_from_guest(std::span(bytes_).subspan(at, each.iov_len),
                                    static_cast<std::byte*>(each.iov_base));
            at += each.iov_len;
        }
        return {};
    }
    base::Result<void> flush() override { return {}; }
    base::Result<void> discard(std::uint64_t, std::uint64_t) override { return {}; }
    base::Result<void> write_zeroes(std::uint64_t at, std::uint64_t length, bool) override {
        std::memset(bytes_.data() + at, 0, length);
        return {};
    }

  private:
    std::vector<std::byte> bytes_;
};

}  // namespace cupule::testing
