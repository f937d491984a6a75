#include "backend/uring_block_queue.h"

#include <fcntl.h>
#include <liburing.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <utility>
#include <vector>

#include "backend/cached_reads.h"
#include "base/assert.h"
#include "base/bits.h"
#include "base/file_descriptor.h"
#include "base/log.h"

namespace cupule::backend {
namespace {

/// The place of the image in the ring's table of files.
constexpr int registered_file = 0;
/// How rings are set up, the best first, as far as the host's kernel goes: completions that the
/// kernel finishes only when the worker asks for some, and then some and not all of them (Linux
/// 6.1); in a system call of the worker's instead of by an interrupt of it (5.19); any way. The
/// flag in the ring says that some wait for a system call.
constexpr std::array<unsigned, 3> setups{
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0};
/// What the kernel registers as one buffer.
constexpr std::size_t buffer_bytes_max = std::size_t{1} << 30;
/// What one transfer may move (Linux' MAX_RW_COUNT, in whole pages).
constexpr std::size_t fixed_bytes_max = INT_MAX & ~std::size_t{4095};
/// Requests of one system call.
constexpr unsigned unstarted_max = 4;
/// How often the kernel may ask to try again before that is an error.
constexpr unsigned tries_max = 1000;

class UringBlockQueue : public BlockQueue {
  public:
    UringBlockQueue(const UringTarget& target, BlockStore& store, unsigned depth)
        : target_(target),
          store_(store),
          cached_reads_(target.cached ? target.fd : -1),
          slots_(depth) {
        for (unsigned i = 0; i < depth; ++i) {
            free_.push_back(depth - 1 - i);
        }
    }
    ~UringBlockQueue() override {
        if (open_) {
            io_uring_queue_exit(&ring_);
        }
    }

    base::Result<void> open() {
        const auto entries = static_cast<unsigned>(slots_.size());
        int error = -EINVAL;
        for (std::size_t i = 0; i < setups.size() && error == -EINVAL; ++i) {
            error = io_uring_queue_init(entries, &ring_, setups[i]);
        }
        if (error < 0) {
            return base::fail_errno(-error, "the host refuses io_uring");
        }
        open_ = true;
        CUPULE_TRY_ASSIGN(bell_, base::make_eventfd());
        error = io_uring_register_files(&ring_, &target_.fd, 1);
        if (error == 0) {
            error = io_uring_register_eventfd(&ring_, bell_.get());
        }
        if (error == 0) {
            error = io_uring_cq_eventfd_toggle(&ring_, false);
        }
        if (error < 0) {
            return base::fail_errno(-error, "the host refuses to register with io_uring");
        }
        register_memory();
        return {};
    }

    bool submit(const BlockRequest& request) override {
        if (free_.empty()) {
            return false;
        }
        const unsigned index = free_.back();
        free_.pop_back();
        slots_[index] = {.request = request, .rest = std::move(slots_[index].rest)};
        if (!is_io_aligned(request.segments, target_.alignment) || has_to_write(request)) {
            carry_out(index);
        } else if (read_at_once(slots_[index])) {
            done_.push_back(index);
        } else {
            prepare(index);
            feed();
        }
        return true;
    }

    void kick() override {
        // The kernel stops behind a request that it refuses: what follows wants another call.
        unsigned tries = 0;
        while (!refused_ && io_uring_sq_ready(&ring_) != 0) {
            const int result = io_uring_submit(&ring_);
            const bool passes =
                result >= 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY;
            tries = result > 0 ? 0 : tries + 1;
            if (!passes || tries == tries_max) {
                give_up(result < 0 ? -result : EAGAIN);
            }
        }
    }

    std::size_t collect(std::span<BlockCompletion> to) override {
        std::size_t count = 0;
        while (count < to.size() && !done_.empty()) {
            to[count++] = give_back(done_.back());
            done_.pop_back();
        }
        io_uring_cqe* cqe = nullptr;
        bool goes_on = false;
        // One look of the kernel's, then what it found: others are finishing meanwhile, and whoever
        // waits for these should not wait for those.
        for (bool look = true;
             count < to.size() && in_ring_ != 0 && (look || io_uring_cq_ready(&ring_) != 0) &&
             io_uring_peek_cqe(&ring_, &cqe) == 0;
             look = false) {
            const auto index = static_cast<unsigned>(cqe->user_data);
            const int result = cqe->res;
            io_uring_cqe_seen(&ring_, cqe);
            --in_ring_;
            if (ended(index, result)) {
                to[count++] = give_back(index);
            } else {
                goes_on = true;
            }
        }
        if (goes_on) {
            kick();
        }
        return count;
    }

    void wait() override {
        kick();
        io_uring_cqe* cqe = nullptr;
        while (done_.empty() && io_uring_wait_cqe(&ring_, &cqe) == -EINTR) {
        }
    }

    int event_fd() const override { return bell_.get(); }
    bool arm() override {
        io_uring_cq_eventfd_toggle(&ring_, true);
        // The kernel first says that there is something and then looks whether it should signal.
        std::atomic_thread_fence(std::memory_order_seq_cst);
        return !done_.empty() || io_uring_cq_ready(&ring_) != 0 || unfinished();
    }
    void disarm() override { io_uring_cq_eventfd_toggle(&ring_, false); }

  private:
    struct Slot {
        BlockRequest request{};
        /// What is left of the segments after a short transfer.
        std::vector<iovec> rest{};
        std::uint64_t done = 0;
        unsigned tries = 0;
        int error = 0;
        /// The work itself has ended, its flush is under way.
        bool flushing = false;
    };

    void register_memory() {
        std::uint64_t bytes = 0;
        for (std::span<std::byte> rest : target_.memory) {
            bytes += rest.size();
            while (!rest.empty()) {
                const std::size_t size = std::min(rest.size(), buffer_bytes_max);
                buffers_.push_back({.iov_base = rest.data(), .iov_len = size});
                rest = rest.subspan(size);
            }
        }
        if (buffers_.empty()) {
            return;
        }
        const int error = io_uring_register_buffers(&ring_, buffers_.data(),
                                                    static_cast<unsigned>(buffers_.size()));
        if (error < 0) {
            base::log_warning(
                "pinned: the host does not pin {0} MiB of guest memory for io_uring: {1}; each "
                "request pins its own. Without CAP_IPC_LOCK, RLIMIT_MEMLOCK (ulimit -l, in KiB) "
                "has to allow {0} MiB for each queue",
                bytes >> 20, base::errno_text(-error));
            buffers_.clear();
        }
    }

    /// The registered buffer that holds all of `segment`; -1: none does.
    int buffer_of(const iovec& segment) const {
        const auto begin = reinterpret_cast<std::uintptr_t>(segment.iov_base);
        for (std::size_t i = 0; i < buffers_.size(); ++i) {
            if (base::contains(reinterpret_cast<std::uintptr_t>(buffers_[i].iov_base),
                               buffers_[i].iov_len, begin, segment.iov_len)) {
                return static_cast<int>(i);
            }
        }
        return -1;
    }

    /// Whether completions wait for a system call.
    bool unfinished() const {
        return (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) != 0;
    }

    /// Starts what is prepared as soon as it is as much as the kernel has, or four: a disk with
    /// nothing to do begins at once, and a busy one gets its requests by few system calls. Of more
    /// in one call the kernel shows the disk none before it has prepared all.
    void feed() {
        if (refused_) {
            return;  // what it has not taken stays in the ring
        }
        const unsigned ready = io_uring_sq_ready(&ring_);
        if (ready >= std::min(in_ring_ - ready, unstarted_max)) {
            kick();
        }
    }

    BlockCompletion give_back(unsigned index) {
        free_.push_back(index);
        return {.token = slots_[index].request.token, .error = slots_[index].error};
    }

    /// Whether zeroes have to be written: the kernel said so before.
    bool has_to_write(const BlockRequest& request) const {
        return cannot_zero_ && request.operation == BlockOperation::write_zeroes &&
               !request.may_unmap;
    }

    /// By the store's waiting calls, here and now.
    void carry_out(unsigned index) {
        slots_[index].error = execute(store_, slots_[index].request);
        done_.push_back(index);
    }

    /// Whether all of it was in the page cache; what was of it has been read.
    bool read_at_once(Slot& slot) {
        const BlockRequest& request = slot.request;
        if (request.operation != BlockOperation::read) {
            return false;
        }
        slot.done = cached_reads_.read(request.segments, target_.start + request.at);
        if (slot.done < request.bytes && slot.done != 0) {
            cut_segments(slot);
        }
        return slot.done >= request.bytes;
    }

    /// The kernel takes no more requests. Those that it has end as ever; those that it has not
    /// taken stay in the ring, which is never shown to it again.
    void give_up(int error) {
        base::log_error("the host's io_uring takes no requests: {}; they are done one by one",
                        base::errno_text(error));
        refused_ = true;
        const unsigned count = io_uring_sq_ready(&ring_);
        in_ring_ -= count;
        for (unsigned i = 0; i < count; ++i) {
            const unsigned entry = (ring_.sq.sqe_tail - count + i) & ring_.sq.ring_mask;
            carry_out(static_cast<unsigned>(ring_.sq.sqes[entry].user_data));
        }
    }

    /// Null when the kernel takes no more.
    io_uring_sqe* next_entry() {
        while (!refused_) {
            if (io_uring_sqe* sqe = io_uring_get_sqe(&ring_); sqe != nullptr) {
                return sqe;
            }
            kick();
        }
        return nullptr;
    }

    void prepare(unsigned index) {
        Slot& slot = slots_[index];
        const BlockRequest& request = slot.request;
        io_uring_sqe* const entry = next_entry();
        if (entry == nullptr) {
            carry_out(index);
            return;
        }
        io_uring_sqe& sqe = *entry;
        const auto operation = slot.flushing ? BlockOperation::flush : request.operation;
        switch (operation) {
            case BlockOperation::read:
            case BlockOperation::write:
                prepare_transfer(slot, sqe);
                break;
            case BlockOperation::flush:
                io_uring_prep_fsync(&sqe, registered_file, IORING_FSYNC_DATASYNC);
                break;
            case BlockOperation::discard:
            case BlockOperation::write_zeroes: {
                const bool punch = operation == BlockOperation::discard || request.may_unmap;
                io_uring_prep_fallocate(
                    &sqe, registered_file,
                    (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(target_.start + request.at),
                    static_cast<off_t>(request.bytes));
                break;
            }
        }
        io_uring_sqe_set_flags(&sqe, IOSQE_FIXED_FILE);
        io_uring_sqe_set_data64(&sqe, index);
        ++in_ring_;
    }

    void prepare_transfer(Slot& slot, io_uring_sqe& sqe) const {
        const BlockRequest& request = slot.request;
        const std::span<const iovec> left =
            slot.done == 0 ? request.segments : std::span<const iovec>(slot.rest);
        const auto count = static_cast<unsigned>(std::min<std::size_t>(left.size(), IOV_MAX));
        const std::uint64_t at = target_.start + request.at + slot.done;
        // The kernel has registered memory for one segment a request only (vectors: Linux 6.15).
        const int buffer = count == 1 ? buffer_of(left.front()) : -1;
        if (buffer >= 0) {
            const iovec& whole = left.front();
            const auto bytes = static_cast<unsigned>(std::min(whole.iov_len, fixed_bytes_max));
            if (request.operation == BlockOperation::read) {
                io_uring_prep_read_fixed(&sqe, registered_file, whole.iov_base, bytes, at, buffer);
            } else {
                io_uring_prep_write_fixed(&sqe, registered_file, whole.iov_base, bytes, at, buffer);
                sqe.rw_flags = request.durable ? RWF_DSYNC : 0;
            }
        } else if (request.operation == BlockOperation::read) {
            io_uring_prep_readv(&sqe, registered_file, left.data(), count, at);
        } else {
            io_uring_prep_writev2(&sqe, registered_file, left.data(), count, at,
                                  request.durable ? RWF_DSYNC : 0);
        }
    }

    /// Whether the request is over; otherwise it has been prepared again.
    bool ended(unsigned index, int result) {
        Slot& slot = slots_[index];
        const BlockOperation operation = slot.request.operation;
        if ((result == -EINTR || result == -EAGAIN) && ++slot.tries < tries_max) {
            prepare(index);
            return false;
        }
        if (operation == BlockOperation::read || operation == BlockOperation::write) {
            return transferred(index, result);
        }
        if (result == -EOPNOTSUPP && !slot.flushing && operation == BlockOperation::discard) {
            return true;  // a hint: a host that cannot is no failure
        }
        if (result == -EOPNOTSUPP && !slot.flushing && operation == BlockOperation::write_zeroes) {
            cannot_zero_ = cannot_zero_ || !slot.request.may_unmap;
            slot.error = execute(store_, slot.request);
            return true;
        }
        if (result < 0) {
            slot.error = -result;
            return true;
        }
        if (operation == BlockOperation::write_zeroes && slot.request.durable && !slot.flushing) {
            slot.flushing = true;
            prepare(index);
            return false;
        }
        return true;
    }

    bool transferred(unsigned index, int result) {
        Slot& slot = slots_[index];
        const std::uint64_t left = slot.request.bytes - slot.done;
        if (result < 0 || (result == 0 && left != 0)) {
            slot.error = result < 0 ? -result : EIO;  // nothing moves: the image has become shorter
            return true;
        }
        slot.done += static_cast<std::uint64_t>(result);
        if (slot.done >= slot.request.bytes) {
            return true;
        }
        cut_segments(slot);
        prepare(index);
        return false;
    }

    static void cut_segments(Slot& slot) {
        slot.rest.clear();
        std::uint64_t skip = slot.done;
        for (const iovec& segment : slot.request.segments) {
            const std::uint64_t cut = std::min<std::uint64_t>(skip, segment.iov_len);
            skip -= cut;
            if (cut < segment.iov_len) {
                slot.rest.push_back({.iov_base = static_cast<std::byte*>(segment.iov_base) + cut,
                                     .iov_len = segment.iov_len - cut});
            }
        }
    }

    const UringTarget target_;
    BlockStore& store_;
    io_uring ring_{};
    bool open_ = false;
    bool refused_ = false;
    /// The file system has no ZERO_RANGE.
    bool cannot_zero_ = false;
    base::FileDescriptor bell_{};
    CachedReads cached_reads_;
    /// As registered, in pieces that the kernel takes.
    std::vector<iovec> buffers_;
    std::vector<Slot> slots_;
    std::vector<unsigned> free_;
    /// Prepared, and their completion not seen.
    unsigned in_ring_ = 0;
    /// Ended without the ring.
    std::vector<unsigned> done_;
};

}  // namespace

base::Result<std::unique_ptr<BlockQueue>> make_uring_block_queue(const UringTarget& target,
                                                                 BlockStore& store,
                                                                 unsigned depth) {
    auto queue = std::make_unique<UringBlockQueue>(target, store, depth);
    CUPULE_TRY(queue->open());
    return queue;
}

}  // namespace cupule::backend
