#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include "backend/block_store.h"

namespace cupule::backend {
namespace {

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

base::Result<void> lock(int fd, const BlockOptions& options) {
    struct flock whole {};
    whole.l_type = options.read_only ? F_RDLCK : F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (fcntl(fd, F_OFD_SETLK, &whole) == 0) {
        return {};
    }
    if (errno == EAGAIN || errno == EACCES) {
        return base::fail("'{}' is in use by another program{}", options.path,
                          options.read_only ? " that writes it" : "");
    }
    return base::fail_errno(errno, "cannot lock '{}'", options.path);
}

/// Moves all of `segments` by one of the vectored calls, which may move less each time.
template <class Call>
base::Result<void> transfer(std::span<const iovec> segments, std::uint64_t at, Call call) {
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

}  // namespace

base::Result<std::unique_ptr<BlockStore>> FileBlockStore::open(const BlockOptions& options) {
    const int access = options.read_only ? O_RDONLY : O_RDWR;
    CUPULE_TRY_ASSIGN(auto file, base::open_file(options.path, access | O_NONBLOCK));
    CUPULE_TRY(lock(file.get(), options));
    CUPULE_TRY_ASSIGN(const std::uint64_t size, size_of(file.get(), options.path));
    if (size == 0 || size % options.logical_sector != 0) {
        return base::fail("'{}' has {} bytes, which is not a multiple of {}-byte sectors{}",
                          options.path, size, options.logical_sector,
                          size == 0 ? " that holds any" : "");
    }
    return std::unique_ptr<BlockStore>(new FileBlockStore(std::move(file), size));
}

base::Result<void> FileBlockStore::read(std::span<const iovec> to, std::uint64_t at) {
    return transfer(to, at, [this](const iovec* batch, int count, off_t place) {
        return preadv(file_.get(), batch, count, place);
    });
}

base::Result<void> FileBlockStore::write(std::span<const iovec> from, std::uint64_t at) {
    return transfer(from, at, [this](const iovec* batch, int count, off_t place) {
        return pwritev(file_.get(), batch, count, place);
    });
}

base::Result<void> FileBlockStore::flush() {
    if (fdatasync(file_.get()) != 0) {
        return base::fail_errno(errno, "cannot flush the image");
    }
    return {};
}

base::Result<void> FileBlockStore::discard(std::uint64_t at, std::uint64_t bytes) {
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (fallocate(file_.get(), mode, static_cast<off_t>(at), static_cast<off_t>(bytes)) == 0 ||
        errno == EOPNOTSUPP) {
        return {};  // a hint: a host that cannot is no failure
    }
    return base::fail_errno(errno, "cannot discard {} bytes at byte {}", bytes, at);
}

base::Result<void> FileBlockStore::write_zeroes(std::uint64_t at, std::uint64_t bytes,
                                                bool may_unmap) {
    const int mode =
        (may_unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
    if (fallocate(file_.get(), mode, static_cast<off_t>(at), static_cast<off_t>(bytes)) == 0) {
        return {};
    }
    if (errno != EOPNOTSUPP) {
        return base::fail_errno(errno, "cannot zero {} bytes at byte {}", bytes, at);
    }
    std::array<std::byte, 16 << 10> zeros{};
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
