// random_read DEVICE DEPTH SECONDS [poll]
//
// 4 KiB reads at random places of a block device, past the page cache, DEPTH of them in flight;
// with `poll` the kernel looks for their ends and no interrupt tells of them (nvme.poll_queues).
// Prints "reads depth=D rate=N", or "polled reads ...": reads in a second. Linked statically, so
// that the same program runs on a host and in a guest that has no libraries.

#include <fcntl.h>
#include <liburing.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <span>
#include <string_view>

namespace {

constexpr std::size_t block_size = 4096;
constexpr unsigned depth_max = 64;

using Clock = std::chrono::steady_clock;

struct alignas(block_size) Block {
    std::array<std::byte, block_size> bytes;
};

int fail(const char* what) {
    std::perror(what);
    return 1;
}

class Reader {
  public:
    Reader(io_uring& ring, int device, std::uint64_t blocks)
        : ring_(ring), device_(device), blocks_(0, blocks - 1) {}

    void submit(unsigned slot) {
        io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
        io_uring_prep_read(entry, device_, buffers_[slot].bytes.data(), block_size,
                           blocks_(random_) * block_size);
        entry->user_data = slot;
    }
    /// Waits for a read and takes all that are done; their number, or -1.
    int reap(bool again) {
        if (io_uring_submit_and_wait(&ring_, 1) < 0) {
            return -1;
        }
        int count = 0;
        io_uring_cqe* done = nullptr;
        while (io_uring_peek_cqe(&ring_, &done) == 0) {
            if (done->res != static_cast<int>(block_size)) {
                errno = done->res < 0 ? -done->res : EIO;
                return -1;
            }
            const auto slot = static_cast<unsigned>(done->user_data);
            io_uring_cqe_seen(&ring_, done);
            ++count;
            if (again) {
                submit(slot);
            }
        }
        return count;
    }

  private:
    io_uring& ring_;
    const int device_;
    std::minstd_rand random_{1};
    std::uniform_int_distribution<std::uint64_t> blocks_;
    std::array<Block, depth_max> buffers_{};
};

}  // namespace

int main(int count, char** words) {
    const std::span<char*> arguments(words, static_cast<std::size_t>(count));
    const bool polled = arguments.size() == 5 && std::string_view(arguments[4]) == "poll";
    if (arguments.size() != 4 && !polled) {
        std::fprintf(stderr, "usage: random_read DEVICE DEPTH SECONDS [poll]\n");
        return 2;
    }
    const auto depth = static_cast<unsigned>(std::atoi(arguments[2]));
    const std::chrono::seconds wanted(std::atoi(arguments[3]));
    const int device = open(arguments[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
    std::uint64_t bytes = 0;
    io_uring ring{};
    if (device < 0 || ioctl(device, BLKGETSIZE64, &bytes) < 0 || bytes < block_size) {
        return fail(arguments[1]);
    }
    const unsigned flags = polled ? IORING_SETUP_IOPOLL : 0;
    if (depth == 0 || depth > depth_max || io_uring_queue_init(depth_max, &ring, flags) < 0) {
        return fail("random_read: depth");
    }
    static Reader reader(ring, device, bytes / block_size);
    for (unsigned slot = 0; slot < depth; ++slot) {
        reader.submit(slot);
    }
    const auto start = Clock::now();
    std::uint64_t reads = 0;
    while (Clock::now() - start < wanted) {
        const int done = reader.reap(true);
        if (done < 0) {
            return fail("random_read");
        }
        reads += static_cast<unsigned>(done);
    }
    const std::chrono::duration<double> passed = Clock::now() - start;
    for (unsigned left = depth; left > 0;) {
        const int done = reader.reap(false);
        if (done < 0) {
            return fail("random_read");
        }
        left -= static_cast<unsigned>(done);
    }
    std::printf("%sreads depth=%u rate=%.0f\n", polled ? "polled " : "", depth,
                static_cast<double>(reads) / passed.count());
    return 0;
}
