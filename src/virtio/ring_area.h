#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/assert.h"

namespace cupule::virtio {

/// One of a queue's three areas: a fixed piece of guest RAM, found once at activation and kept for
/// the queue's life. Driver and device change it at the same time, so each access is one atomic
/// access of its natural size: a value is read exactly once and never torn. Offsets are ours (the
/// guest's indices are checked against the queue's size first); the bounds check guards that.
class RingArea {
  public:
    RingArea() = default;
    explicit RingArea(std::span<std::byte> bytes) : bytes_(bytes) {}

    template <std::unsigned_integral T>
    T load(std::uint32_t offset, std::memory_order order = std::memory_order_relaxed) const {
        return at<T>(offset).load(order);
    }

    template <std::unsigned_integral T>
    void store(std::uint32_t offset, T value,
               std::memory_order order = std::memory_order_relaxed) const {
        at<T>(offset).store(value, order);
    }

    /// A store that no later load of this thread can overtake: an exchange is a full barrier on
    /// x86 and sequentially consistent in C++, and it is cheaper than a store and a fence.
    template <std::unsigned_integral T>
    void store_fully_ordered(std::uint32_t offset, T value) const {
        static_cast<void>(at<T>(offset).exchange(value, std::memory_order_seq_cst));
    }

    /// Has the processor fetch what is at `offset`.
    void prefetch(std::uint32_t offset) const { __builtin_prefetch(bytes_.data() + offset); }

    /// The same for what is about to be written: the cache line leaves other processors'.
    void prefetch_to_write(std::uint32_t offset) const {
        asm volatile("prefetchw %0" : : "m"(bytes_[offset]));
    }

  private:
    template <class T>
    std::atomic_ref<T> at(std::uint32_t offset) const {
        CUPULE_ASSERT(offset + sizeof(T) <= bytes_.size());
        return std::atomic_ref<T>(*static_cast<T*>(static_cast<void*>(bytes_.data() + offset)));
    }

    std::span<std::byte> bytes_;
};

}  // namespace cupule::virtio
