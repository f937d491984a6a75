// virtio-blk with a file behind it: 4 KiB random reads by an in-process driver that polls, against
// pread (depth 1) and io_uring by hand (depth 32) of the same file in the same program. The device
// runs on its worker and sleeps between requests, as in a virtual machine.
//
//     build/release/bench/bench_blk --benchmark_counters_tabular=true
//
// BLK_FILE names the file; without it one of 64 MiB is made in the temporary directory, so that
// all of it is in the page cache and the figures are the cost of the path, not of a disk. With
// BLK_DIRECT io_uring and virtio-blk read it past the page cache. bench/file_back_end compares with
// fio.

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "backend/block_store.h"
#include "backend/uring_block_queue.h"
#include "base/assert.h"
#include "device/storage/virtio_blk.h"
#include "testing/virtio_driver.h"
#include "testing/virtio_pci_bench.h"
#include "virtio/features.h"

namespace cupule {
namespace {

using testing::VirtioDriver;

constexpr std::uint64_t block = 4096;
constexpr std::uint64_t made_bytes = 64 << 20;
constexpr unsigned depth_max = 32;

/// The file all of them read.
class TestFile {
  public:
    TestFile() {
        const char* given = std::getenv("BLK_FILE");
        path_ = given != nullptr ? given : "/tmp/bench_blk_XXXXXX";
        if (given == nullptr) {
            made_ = true;
            const base::FileDescriptor file(mkstemp(path_.data()));
            const std::string megabyte(1 << 20, 'x');
            for (std::uint64_t at = 0; at < made_bytes; at += megabyte.size()) {
                CUPULE_ASSERT(write(file.get(), megabyte.data(), megabyte.size()) > 0);
            }
        }
        const bool direct = flags() != O_RDONLY;
        store_ = std::move(*backend::FileBlockStore::open(
            {.path = path_, .read_only = true, .direct = direct, .logical_sector = 4096}));
    }
    ~TestFile() {
        if (made_) {
            unlink(path_.c_str());
        }
    }
    backend::BlockStore& store() { return *store_; }
    const std::string& path() const { return path_; }
    static int flags() {
        return std::getenv("BLK_DIRECT") != nullptr ? O_RDONLY | O_DIRECT : O_RDONLY;
    }
    std::uint64_t random_block() { return random_() % (store_->size() / block); }

  private:
    std::string path_;
    bool made_ = false;
    std::unique_ptr<backend::BlockStore> store_;
    std::mt19937_64 random_{7};
};

TestFile& file() {
    static TestFile instance;
    return instance;
}

void report(benchmark::State& state) {
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}

void BM_Pread(benchmark::State& state) {
    const auto descriptor = *base::open_file(file().path(), O_RDONLY);
    std::array<char, block> buffer{};
    for (auto _ : state) {
        const auto at = static_cast<off_t>(file().random_block() * block);
        CUPULE_ASSERT(pread(descriptor.get(), buffer.data(), block, at) == block);
    }
    report(state);
}

/// The file's queue by itself: as virtio-blk has it (whole), or io_uring for every read, with the
/// memory registered or not (pinned).
void BM_FileBackEnd(benchmark::State& state) {
    const auto depth = static_cast<unsigned>(state.range(0));
    const bool whole = state.range(1) == 1;
    const bool pinned = state.range(2) == 1;
    const auto descriptor = *base::open_file(file().path(), TestFile::flags());
    struct alignas(block) Buffer {
        std::array<char, block> bytes{};
    };
    std::vector<Buffer> buffers(depth);
    const std::array memory{std::as_writable_bytes(std::span(buffers))};
    backend::UringTarget target{.fd = descriptor.get()};
    if (pinned) {
        target.memory = memory;
    }
    auto queue = whole ? file().store().make_queue(depth)
                       : backend::make_uring_block_queue(target, file().store(), depth);
    if (!queue) {
        state.SkipWithError(queue.error().message.c_str());
        return;
    }
    std::vector<iovec> segments(depth);
    const auto submit = [&](std::uint32_t token) {
        segments[token] = {.iov_base = buffers[token].bytes.data(), .iov_len = block};
        CUPULE_ASSERT((*queue)->submit({.operation = backend::BlockOperation::read,
                                        .at = file().random_block() * block,
                                        .bytes = block,
                                        .segments = std::span(&segments[token], 1),
                                        .token = token}));
    };
    for (std::uint32_t token = 0; token < depth; ++token) {
        submit(token);
    }
    std::array<backend::BlockCompletion, depth_max> done;
    std::size_t ready = 0;
    for (auto _ : state) {
        while (ready == 0) {
            (*queue)->kick();
            ready = (*queue)->collect(done);
        }
        submit(done[--ready].token);
    }
    for (std::size_t left = depth - ready; left != 0;) {
        (*queue)->wait();
        left -= (*queue)->collect(done);
    }
    report(state);
}

/// The device on its bus with a driver that keeps `depth` reads outstanding.
class Guest {
  public:
    Guest(unsigned depth, std::uint64_t poll_ns_max) : depth_(depth) {
        event::Worker* const workers[] = {worker_.get()};
        bench_ = std::make_unique<testing::VirtioPciBench>(std::make_unique<device::VirtioBlk>(
            device::VirtioBlkSpec{.read_only = true, .poll_ns_max = poll_ns_max}, &file().store(),
            workers));
        driver_ = std::make_unique<VirtioDriver>(*bench_->memory, options_);
        CUPULE_ASSERT(bench_->negotiate(options_.features));
        bench_->set_queue(0, driver_->geometry());
        bench_->drive();
        driver_->disable_interrupts();
        for (std::uint64_t token = 0; token < depth_; ++token) {
            submit(token);
        }
    }
    ~Guest() { bench_.reset(); }

    /// One read ends, the next begins at once.
    void step() {
        for (;;) {
            if (const auto used = driver_->collect()) {
                submit(used->token);
                publish();
                return;
            }
            publish();
        }
    }
    virtio::QueueReport report() const { return bench_->transport->device().report()[0]; }

  private:
    void publish() {
        if (driver_->publish()) {
            bench_->notify(0);
        }
    }
    void submit(std::uint64_t token) {
        const std::uint64_t header = 0x10'0000 + token * 64;
        const std::uint64_t data = 0x20'0000 + token * block;
        CUPULE_ASSERT(bench_->memory->store<std::uint64_t>({header}, 0) &&
                      bench_->memory->store<std::uint64_t>({header + 8},
                                                           file().random_block() * block / 512));
        const std::array<VirtioDriver::Buffer, 3> buffers{
            {{.address = {header}, .length = 16},
             {.address = {data}, .length = block, .writable = true},
             {.address = {header + 32}, .length = 1, .writable = true}}};
        CUPULE_ASSERT(driver_->submit(buffers, token));
    }

    unsigned depth_;
    VirtioDriver::Options options_{
        .features = virtio::feature::version_1 | virtio::feature::event_idx,
        .size = 256,
        .base = {0x1'0000}};
    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("bench");
    std::unique_ptr<testing::VirtioPciBench> bench_;
    std::unique_ptr<VirtioDriver> driver_;
};

void BM_VirtioBlk(benchmark::State& state) {
    Guest guest(static_cast<unsigned>(state.range(0)), static_cast<std::uint64_t>(state.range(1)));
    for (auto _ : state) {
        guest.step();
    }
    report(state);
    const virtio::QueueReport counts = guest.report();
    state.counters["kicks_per_1000"] =
        static_cast<double>(1000 * counts.kicks) / static_cast<double>(counts.requests);
}

BENCHMARK(BM_Pread)->UseRealTime();
BENCHMARK(BM_FileBackEnd)
    ->ArgsProduct({{1, depth_max}, {0}, {0, 1}})
    ->ArgsProduct({{1, depth_max}, {1}, {0}})
    ->ArgNames({"depth", "whole", "pinned"})
    ->UseRealTime();
BENCHMARK(BM_VirtioBlk)
    ->Args({1, 0})
    ->Args({1, 50'000})
    ->Args({depth_max, 0})
    ->Args({depth_max, 50'000})
    ->ArgNames({"depth", "poll_ns"})
    ->UseRealTime();

}  // namespace
}  // namespace cupule

BENCHMARK_MAIN();
