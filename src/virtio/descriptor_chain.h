#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "memory/guest_copy.h"
#include "virtio/queue_fault.h"

// Debug builds and those under a sanitizer: what tests run in.
#if !defined(NDEBUG) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CUPULE_CHECKED_BUILD 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CUPULE_CHECKED_BUILD 1
#endif
#endif
#if !defined(CUPULE_CHECKED_BUILD)
#define CUPULE_CHECKED_BUILD 0
#endif

namespace cupule::virtio {

class ChainPool;

/// Where one chain keeps its buffers. Belongs to a pool; filled by ChainBuilder.
struct ChainSlot {
    static constexpr std::uint32_t inline_segments_max = 4;

    iovec* segments = nullptr;
    std::uint32_t capacity = 0;
    std::uint16_t readable_count = 0;
    std::uint16_t writable_count = 0;
    std::uint64_t readable_bytes = 0;
    std::uint64_t writable_bytes = 0;
    /// What the used ring names the chain by: head index (split) or buffer id (packed).
    std::uint16_t id = 0;
    /// Places the chain takes in a packed ring; 1 in a split ring.
    std::uint16_t descriptors = 0;
    /// Counts the queue's chains; the place in the order of IN_ORDER.
    std::uint32_t sequence = 0;
    ChainPool* pool = nullptr;
    ChainSlot* next_free = nullptr;
    std::array<iovec, inline_segments_max> inline_segments{};
    std::unique_ptr<iovec[]> overflow;
};

/// A request of the driver: buffers it may read from, then buffers it may write to, each checked to
/// be RAM. It must end in exactly one of two ways: Queue::push_used hands it back to the driver, or
/// `abandon` drops it because the queue was reset. Move-only, one pointer wide. May be moved to and
/// used by another thread, but ends on the thread that has the queue.
///
/// The buffers are the guest's: it may change them at any time, so a value is copied out once
/// (ChainReader) before anything is decided by it.
class Chain {
  public:
    /// Whether destroying a chain that has not ended is an assertion in this build.
    static constexpr bool loss_is_fatal = CUPULE_CHECKED_BUILD != 0;

    Chain() = default;
    explicit Chain(ChainSlot& slot) : slot_(&slot) {}
    Chain(Chain&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    Chain& operator=(Chain&& other) noexcept {
        if (this != &other) {
            lose();
            slot_ = std::exchange(other.slot_, nullptr);
        }
        return *this;
    }
    Chain(const Chain&) = delete;
    Chain& operator=(const Chain&) = delete;
    ~Chain() { lose(); }

    /// False for an empty chain: none was available, or it has ended.
    explicit operator bool() const { return slot_ != nullptr; }

    /// The buffers, ready for preadv, pwritev and io_uring. Not of an empty chain; valid until it
    /// ends.
    std::span<const iovec> readable() const { return {slot_->segments, slot_->readable_count}; }
    std::span<const iovec> writable() const {
        return {slot_->segments + slot_->readable_count, slot_->writable_count};
    }
    std::uint64_t readable_bytes() const { return slot_->readable_bytes; }
    std::uint64_t writable_bytes() const { return slot_->writable_bytes; }
    /// Head index or buffer id: for logs and for the in-flight records of vhost-user.
    std::uint16_t id() const { return slot_->id; }

    /// Has the processor fetch the start of the first buffer, which is about to be read.
    void prefetch() const { __builtin_prefetch(slot_->segments[0].iov_base); }

    /// Ends the chain without telling the driver: only right once the driver has reset the queue or
    /// the device, which takes all buffers back.
    void abandon();

  private:
    friend class Queue;
    void lose() {
        if (slot_ != nullptr) {
            report_lost();
        }
    }
    /// A device forgot a chain. That is our defect: an assertion in debug and sanitizer builds, a
    /// log line otherwise, because a guest may be what led a device there.
    void report_lost();
    ChainSlot* slot_ = nullptr;
};

/// The chains of one queue. Grows by what is in flight, never shrinks; a queue's checks bound it to
/// the queue's size. It outlives its queue until the last chain has ended, so that a completion
/// that comes after a reset finds its chain intact. One thread at a time.
class ChainPool {
  public:
    struct Orphan {
        void operator()(ChainPool* pool) const { pool->orphan(); }
    };
    using Owner = std::unique_ptr<ChainPool, Orphan>;

    static Owner create() { return Owner(new ChainPool); }
    ChainPool(const ChainPool&) = delete;
    ChainPool& operator=(const ChainPool&) = delete;

    ChainSlot& take() {
        if (free_ == nullptr) {
            grow();
        }
        ChainSlot& slot = *free_;
        free_ = slot.next_free;
        ++in_flight_;
        slot.readable_count = slot.writable_count = 0;
        slot.readable_bytes = slot.writable_bytes = 0;
        return slot;
    }

    void give(ChainSlot& slot) {
        slot.next_free = free_;
        free_ = &slot;
        if (--in_flight_ == 0 && orphaned_) {
            delete this;
        }
    }

    std::uint32_t in_flight() const { return in_flight_; }
    std::uint64_t lost() const { return lost_; }
    void count_lost() { ++lost_; }

  private:
    static constexpr std::size_t chunk_slots = 32;
    ChainPool() = default;
    ~ChainPool() = default;
    void grow();
    void orphan();

    std::vector<std::unique_ptr<std::array<ChainSlot, chunk_slots>>> chunks_;
    ChainSlot* free_ = nullptr;
    std::uint32_t in_flight_ = 0;
    std::uint64_t lost_ = 0;
    bool orphaned_ = false;
};

/// Walks over one half of a chain. How a driver cuts a request into buffers means nothing (2.7.4):
/// a header may cross them. Valid while the chain lives.
class ChainCursor {
  public:
    std::uint64_t remaining() const { return remaining_; }

    /// Passes over `bytes`, or over nothing (false) when there are fewer.
    bool skip(std::uint64_t bytes);

    /// Passes over up to `bytes` and lists them in `out`, for vectored I/O. Returns how many
    /// entries it filled; the bytes listed are fewer than asked only when the half ends or `out` is
    /// full.
    std::uint32_t take(std::uint64_t bytes, std::span<iovec> out);

  protected:
    ChainCursor(std::span<const iovec> segments, std::uint64_t bytes)
        : segments_(segments), remaining_(bytes) {}
    /// The longest piece at the cursor, at most `bytes` long, and moves past it. Empty at the end.
    std::span<std::byte> next_piece(std::uint64_t bytes);
    /// The next `bytes`, at least one, and moves past them; nullptr, and nothing is passed, where
    /// they are not all in one buffer.
    std::byte* whole_piece(std::uint64_t bytes) {
        if (segments_.empty() || segments_.front().iov_len - offset_ < bytes) {
            return nullptr;
        }
        return next_piece(bytes).data();
    }

  private:
    std::span<const iovec> segments_;
    std::uint64_t offset_ = 0;
    std::uint64_t remaining_ = 0;
};

inline std::span<std::byte> ChainCursor::next_piece(std::uint64_t bytes) {
    if (segments_.empty() || bytes == 0) {
        return {};
    }
    const iovec& segment = segments_.front();
    const std::uint64_t size = std::min<std::uint64_t>(bytes, segment.iov_len - offset_);
    std::byte* const data = static_cast<std::byte*>(segment.iov_base) + offset_;
    offset_ += size;
    remaining_ -= size;
    if (offset_ == segment.iov_len) {
        segments_ = segments_.subspan(1);
        offset_ = 0;
    }
    return {data, size};
}

inline bool ChainCursor::skip(std::uint64_t bytes) {
    if (bytes > remaining_) {
        return false;
    }
    while (bytes > 0) {
        bytes -= next_piece(bytes).size();
    }
    return true;
}

inline std::uint32_t ChainCursor::take(std::uint64_t bytes, std::span<iovec> out) {
    bytes = std::min(bytes, remaining_);
    std::uint32_t count = 0;
    while (bytes > 0 && count < out.size()) {
        const std::span<std::byte> piece = next_piece(bytes);
        out[count++] = {.iov_base = piece.data(), .iov_len = piece.size()};
        bytes -= piece.size();
    }
    return count;
}

/// Copies out of the readable half.
class ChainReader : public ChainCursor {
  public:
    explicit ChainReader(const Chain& chain)
        : ChainCursor(chain.readable(), chain.readable_bytes()) {}

    /// Copies up to to.size() bytes; returns how many there were.
    std::size_t read(std::span<std::byte> to);

    /// Reads a little-endian value, once. False, and nothing is passed, when it is cut short.
    template <class T>
    requires std::is_trivially_copyable_v<T>
    bool value(T& to) {
        if (remaining() < sizeof(T)) {
            return false;
        }
        const auto bytes = std::as_writable_bytes(std::span(&to, 1));
        if (std::byte* const from = whole_piece(sizeof(T)); from != nullptr) {
            memory::copy_from_guest(bytes, from);
        } else {
            read(bytes);
        }
        return true;
    }
    template <class T>
    requires std::is_trivially_copyable_v<T> std::optional<T> value() {
        T copy;
        return value(copy) ? std::optional<T>(copy) : std::nullopt;
    }
};

/// Copies into the writable half and counts, for push_used.
class ChainWriter : public ChainCursor {
  public:
    explicit ChainWriter(const Chain& chain)
        : ChainCursor(chain.writable(), chain.writable_bytes()), total_(chain.writable_bytes()) {}

    /// Copies up to from.size() bytes; returns how many found room.
    std::size_t write(std::span<const std::byte> from);

    /// False, and nothing written, when the value does not fit.
    template <class T>
    requires std::is_trivially_copyable_v<T>
    bool value(const T& from) {
        if (remaining() < sizeof(T)) {
            return false;
        }
        const auto bytes = std::as_bytes(std::span(&from, 1));
        if (std::byte* const to = whole_piece(sizeof(T)); to != nullptr) {
            memory::copy_to_guest(to, bytes);
        } else {
            write(bytes);
        }
        return true;
    }

    /// Bytes passed so far: what push_used wants when all of them were written.
    std::uint32_t written() const { return static_cast<std::uint32_t>(total_ - remaining()); }

  private:
    std::uint64_t total_;
};

}  // namespace cupule::virtio
