#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "backend/block_store.h"
#include "backend/thread_block_queue.h"
#include "backend/uring_block_queue.h"
#include "base/bits.h"
#include "base/log.h"
#include "memory/guest_copy.h"

namespace cupule::backend {
namespace {

constexpr std::uint32_t logical_sector_min = 512;
constexpr std::size_t buffer_alignment = 4096;
/// As many as acrn-dm has.
constexpr unsigned threads_per_store = 8;

base::Result<std::uint64_t> size_of(int fd, const std::string& path) {
    struct stat status {};
    if (fstat(fd, &status) != 0) {
        return base::fail_errno(errno, "cannot examine '{}'", path);
    }
    if (S_ISREG(status.st_mode)) {
        return static_cast<std::uint64_t>(status.st_size);
    }
    std::uint64_t bytes = 0;
    if (!S_ISBLK(status.st_mode)) {
        return base::fail("'{}' is neither a file nor a block device", path);
    }
    if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) {
        return base::fail_errno(errno, "cannot learn the size of '{}'", path);
    }
    return bytes;
}

/// Locks the file by a description of its own: the kernel lets go of one that io_uring has used
/// only some time after its process has ended, and the next virtual machine would be refused.
base::Result<base::FileDescriptor> lock(int io_fd, const BlockOptions& options) {
    const int access = options.read_only ? O_RDONLY : O_RDWR;
    CUPULE_TRY_ASSIGN(auto file, base::open_file(options.path, access | O_NONBLOCK));
    struct stat ours {};
    struct stat io {};
    if (fstat(file.get(), &ours) != 0 || fstat(io_fd, &io) != 0 || ours.st_dev != io.st_dev ||
        ours.st_ino != io.st_ino) {
        return base::fail("'{}' was replaced while it was opened", options.path);
    }
    struct flock whole {};
    whole.l_type = options.read_only ? F_RDLCK : F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (fcntl(file.get(), F_OFD_SETLK, &whole) == 0) {
        return file;
    }
    if (errno == EAGAIN || errno == EACCES) {
        return base::fail("'{}' is in use by another program{}", options.path,
                          options.read_only ? " that writes it" : "");
    }
    return base::fail_errno(errno, "cannot lock '{}'", options.path);
}

/// Moves all of `segments` by one of the vectored calls, which may move less each time.
template <class Call>
base::Result<void> move_all(std::span<const iovec> segments, std::uint64_t at, Call call) {
    constexpr std::size_t batch_max = 64;
    std::size_t skip = 0;  // bytes of the first segment that are done
    while (!segments.empty()) {
        std::array<iovec, batch_max> batch{};
        const std::size_t count = std::min(segments.size(), batch.size());
        std::copy_n(segments.begin(), count, batch.begin());
        batch[0].iov_base = static_cast<std::byte*>(batch[0].iov_base) + skip;
        batch[0].iov_len -= skip;
        const ssize_t moved = call(batch.data(), static_cast<int>(count), static_cast<off_t>(at));
        if (moved < 0 && errno == EINTR) {
            continue;
        }
        if (moved <= 0) {
            return base::fail_errno(moved < 0 ? errno : EIO, "the image at byte {}", at);
        }
        at += static_cast<std::uint64_t>(moved);
        skip += static_cast<std::size_t>(moved);
        while (!segments.empty() && skip >= segments.front().iov_len) {
            skip -= segments.front().iov_len;
            segments = segments.subspan(1);
        }
    }
    return {};
}

/// Walks over segments by copying, for memory that the host will not do I/O on.
class SegmentCopy {
  public:
    explicit SegmentCopy(std::span<const iovec> segments) : segments_(segments) {}
    /// Between the next bytes of the segments and `buffer`; how many there were.
    std::size_t copy(std::span<std::byte> buffer, bool to_segments) {
        std::size_t copied = 0;
        while (copied < buffer.size() && !segments_.empty()) {
            const iovec& segment = segments_.front();
            const std::size_t part =
                std::min(buffer.size() - copied, std::size_t{segment.iov_len} - offset_);
            std::byte* const place = static_cast<std::byte*>(segment.iov_base) + offset_;
            const std::span<std::byte> ours = buffer.subspan(copied, part);
            if (to_segments) {
                memory::copy_to_guest(place, ours);
            } else {
                memory::copy_from_guest(ours, place);
            }
            copied += part;
            offset_ += part;
            if (offset_ == segment.iov_len) {
                segments_ = segments_.subspan(1);
                offset_ = 0;
            }
        }
        return copied;
    }

  private:
    std::span<const iovec> segments_;
    std::size_t offset_ = 0;
};

/// Whether the file's bytes are nowhere but in the host's memory. Such file systems have io_uring
/// hand all work to threads of the kernel's (up to Linux 6.5), for a copy that waits for no disk.
bool is_in_memory(int fd) {
    struct statfs status {};
    return fstatfs(fd, &status) == 0 &&
           (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

}  // namespace

FileBlockStore::FileBlockStore(base::FileDescriptor file, const BlockOptions& options,
                               std::uint64_t size, const memory::GuestMemory* memory)
    : file_(std::move(file)),
      start_(options.range_start),
      size_(size),
      aio_(options.aio),
      memory_(options.pinned ? memory : nullptr),
      cached_(!options.direct),
      path_(options.path) {}

FileBlockStore::~FileBlockStore() = default;

base::Result<std::unique_ptr<BlockStore>> FileBlockStore::open(const BlockOptions& options,
                                                               const memory::GuestMemory* memory) {
    const int access = (options.read_only ? O_RDONLY : O_RDWR) | (options.direct ? O_DIRECT : 0);
    auto opened = base::open_file(options.path, access | O_NONBLOCK);
    if (!opened && opened.error().code == EINVAL && options.direct) {
        return base::fail("'{}' cannot be used with nocache: its file system has no direct I/O",
                          options.path);
    }
    CUPULE_TRY_ASSIGN(auto file, std::move(opened));
    CUPULE_TRY_ASSIGN(auto lock_holder, lock(file.get(), options));
    CUPULE_TRY_ASSIGN(const std::uint64_t whole, size_of(file.get(), options.path));
    if (!base::contains(0, whole, options.range_start, options.range_bytes)) {
        return base::fail("'{}' has {} bytes, which the range of {} bytes at byte {} leaves",
                          options.path, whole, options.range_bytes, options.range_start);
    }
    const std::uint64_t size =
        options.range_bytes != 0 ? options.range_bytes : whole - options.range_start;
    if (size == 0 || size % options.logical_sector != 0) {
        return base::fail("'{}' has {} bytes, which is not a multiple of {}-byte sectors{}",
                          options.path, size, options.logical_sector,
                          size == 0 ? " that holds any" : "");
    }
    std::unique_ptr<FileBlockStore> store(
        new FileBlockStore(std::move(file), options, size, memory));
    store->lock_ = std::move(lock_holder);
    if (options.direct) {
        CUPULE_TRY(store->find_alignment(options));
    }
    return store;
}

base::Result<void> FileBlockStore::find_alignment(const BlockOptions& options) {
    std::uint32_t place = logical_sector_min;
    alignment_ = logical_sector_min;
#if defined(STATX_DIOALIGN)
    struct statx status {};
    if (statx(file_.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
        (status.stx_mask & STATX_DIOALIGN) != 0) {
        if (status.stx_dio_offset_align == 0) {
            return base::fail("'{}' cannot be used with nocache: its file system has no direct I/O",
                              options.path);
        }
        place = status.stx_dio_offset_align;
        alignment_ = std::max(status.stx_dio_mem_align, 1U);
    }
#endif
    if (options.logical_sector % place != 0 || start_ % place != 0) {
        return base::fail(
            "'{}' with nocache wants sectors and range in multiples of {} bytes: use "
            "sectorsize={}",
            options.path, place, place);
    }
    return {};
}

template <class Call>
base::Result<void> FileBlockStore::transfer(std::span<const iovec> segments, std::uint64_t at,
                                            bool to_host, Call call) {
    if (is_io_aligned(segments, alignment_)) {
        return move_all(segments, at, call);
    }
    // Direct I/O wants aligned memory: by way of a buffer of our own.
    constexpr std::size_t buffer_bytes = 256 << 10;
    struct Free {
        void operator()(std::byte* bytes) const { std::free(bytes); }
    };
    const std::unique_ptr<std::byte, Free> memory(
        static_cast<std::byte*>(std::aligned_alloc(buffer_alignment, buffer_bytes)));
    if (!memory) {
        return base::fail_errno(ENOMEM, "no memory for a buffer of {} bytes", buffer_bytes);
    }
    std::uint64_t left = 0;
    for (const iovec& segment : segments) {
        left += segment.iov_len;
    }
    SegmentCopy copy(segments);
    while (left != 0) {
        const std::span part(memory.get(), std::min<std::uint64_t>(left, buffer_bytes));
        if (to_host) {
            copy.copy(part, false);
        }
        const iovec whole{.iov_base = part.data(), .iov_len = part.size()};
        CUPULE_TRY(move_all(std::span(&whole, 1), at, call));
        if (!to_host) {
            copy.copy(part, true);
        }
        at += part.size();
        left -= part.size();
    }
    return {};
}

base::Result<void> FileBlockStore::read(std::span<const iovec> to, std::uint64_t at) {
    return transfer(to, start_ + at, false, [this](const iovec* batch, int count, off_t place) {
        return preadv(file_.get(), batch, count, place);
    });
}

base::Result<void> FileBlockStore::write(std::span<const iovec> from, std::uint64_t at) {
    return transfer(from, start_ + at, true, [this](const iovec* batch, int count, off_t place) {
        return pwritev(file_.get(), batch, count, place);
    });
}

base::Result<std::unique_ptr<BlockQueue>> FileBlockStore::make_queue(unsigned depth) {
    if (aio_ == BlockAio::automatic && is_in_memory(file_.get())) {
        return make_immediate_block_queue(*this, depth);
    }
    if (aio_ != BlockAio::threads) {
        UringTarget target{
            .fd = file_.get(), .start = start_, .alignment = alignment_, .cached = cached_};
        if (memory_ != nullptr) {
            target.memory = memory_->mappings();
        }
        auto queue = make_uring_block_queue(target, *this, depth);
        if (queue) {
            return queue;
        }
        if (aio_ == BlockAio::io_uring) {
            base::log_warning("'{}': {}; threads do its work", path_, queue.error().message);
        } else {
            base::log_info("'{}': {}; threads do its work", path_, queue.error().message);
        }
    }
    event::MutexLock lock(mutex_);
    if (!threads_) {
        threads_ = std::make_unique<event::ThreadPool>("blk-io", threads_per_store);
    }
    return make_thread_block_queue(*this, *threads_, depth);
}

base::Result<void> FileBlockStore::flush() {
    if (fdatasync(file_.get()) != 0) {
        return base::fail_errno(errno, "cannot flush the image");
    }
    return {};
}

base::Result<void> FileBlockStore::discard(std::uint64_t at, std::uint64_t bytes) {
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (fallocate(file_.get(), mode, static_cast<off_t>(start_ + at), static_cast<off_t>(bytes)) ==
            0 ||
        errno == EOPNOTSUPP) {
        return {};  // a hint: a host that cannot is no failure
    }
    return base::fail_errno(errno, "cannot discard {} bytes at byte {}", bytes, at);
}

base::Result<void> FileBlockStore::write_zeroes(std::uint64_t at, std::uint64_t bytes,
                                                bool may_unmap) {
    const int mode =
        (may_unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
    if (fallocate(file_.get(), mode, static_cast<off_t>(start_ + at), static_cast<off_t>(bytes)) ==
        0) {
        return {};
    }
    if (errno != EOPNOTSUPP) {
        return base::fail_errno(errno, "cannot zero {} bytes at byte {}", bytes, at);
    }
    alignas(buffer_alignment) std::array<std::byte, 16 << 10> zeros{};
    while (bytes != 0) {
        const std::uint64_t part = std::min<std::uint64_t>(bytes, zeros.size());
        const iovec segment{.iov_base = zeros.data(), .iov_len = part};
        CUPULE_TRY(write(std::span(&segment, 1), at));
        at += part;
        bytes -= part;
    }
    return {};
}

}  // namespace cupule::backend
