// The ring engine with a null back end: every request is taken and handed back at once, as in
// SPDK's null block device. A request is what a block driver sends: a 16-byte header, 4 KiB of data
// and a status byte (three buffers). Driver and device run on one thread, both polling, so a rate
// is that of driver and engine together; BM_EngineAlone has the engine's share.
//
//     build/release/bench/bench_virtqueue --benchmark_counters_tabular=true

#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "base/assert.h"
#include "memory/guest_memory.h"
#include "testing/virtio_driver.h"
#include "virtio/features.h"
#include "virtio/queue_config.h"

namespace cupule {
namespace {

using testing::VirtioDriver;

constexpr std::uint64_t queue_memory = 8 << 20;
constexpr memory::GuestAddress data{4 << 20};  // behind the rings
constexpr std::size_t batch_max = 32;

std::uint64_t features_of(bool packed, bool indirect) {
    return virtio::feature::version_1 | virtio::feature::event_idx |
           (packed ? virtio::feature::ring_packed : 0) |
           (indirect ? virtio::feature::indirect_desc : 0);
}

/// One queue with its own memory, driver and device.
class QueuePair {
  public:
    QueuePair(bool packed, bool indirect)
        : options_{.features = features_of(packed, indirect), .size = 256, .base = {0}},
          shape_(indirect ? VirtioDriver::Shape::indirect : VirtioDriver::Shape::direct),
          memory_(*memory::GuestMemory::create({.pieces = {{{0}, queue_memory}}})),
          driver_(*memory_, options_),
          queue_(start()) {
        driver_.disable_interrupts();
        queue_.disable_notifications();
    }

    void submit(std::uint64_t count) {
        const std::array<VirtioDriver::Buffer, 3> buffers{
            VirtioDriver::Buffer{.address = data, .length = 16},
            VirtioDriver::Buffer{.address = data + 4096, .length = 4096, .writable = true},
            VirtioDriver::Buffer{.address = data + 16, .length = 1, .writable = true}};
        for (std::uint64_t i = 0; i < count; ++i) {
            CUPULE_ASSERT(driver_.submit(buffers, i, shape_));
        }
        benchmark::DoNotOptimize(driver_.publish());
    }

    /// The null device: takes all there is in batches and hands it back.
    std::uint64_t serve() {
        std::uint64_t served = 0;
        std::array<virtio::Chain, batch_max> chains;
        while (const std::size_t count = queue_.pop(chains)) {
            for (std::size_t i = 0; i < count; ++i) {
                const auto written = static_cast<std::uint32_t>(chains[i].writable_bytes());
                queue_.push_used(std::move(chains[i]), written);
            }
            served += count;
        }
        benchmark::DoNotOptimize(queue_.publish());
        return served;
    }

    std::uint64_t collect() {
        std::uint64_t collected = 0;
        while (driver_.collect()) {
            ++collected;
        }
        return collected;
    }

    void round(std::uint64_t depth) {
        submit(depth);
        serve();
        const std::uint64_t collected = collect();
        CUPULE_ASSERT(collected == depth);
    }

  private:
    virtio::Queue start() {
        virtio::QueueConfig config({.size_max = options_.size});
        const virtio::QueueGeometry& at = driver_.geometry();
        CUPULE_ASSERT(config.set_area(virtio::QueueArea::descriptors, at.descriptor_area) &&
                      config.set_area(virtio::QueueArea::driver, at.driver_area) &&
                      config.set_area(virtio::QueueArea::device, at.device_area));
        config.enable();
        return *std::move(config).activate(*memory_, options_.features);
    }

    VirtioDriver::Options options_;
    VirtioDriver::Shape shape_;
    std::unique_ptr<memory::GuestMemory> memory_;
    VirtioDriver driver_;
    virtio::Queue queue_;
};

void count_requests(benchmark::State& state, std::uint64_t per_iteration) {
    state.counters["requests"] = benchmark::Counter(
        static_cast<double>(state.iterations()) * static_cast<double>(per_iteration),
        benchmark::Counter::kIsRate, benchmark::Counter::kIs1000);
}

/// Arguments: packed, indirect, depth.
void BM_NullDevice(benchmark::State& state) {
    QueuePair pair(state.range(0) != 0, state.range(1) != 0);
    const auto depth = static_cast<std::uint64_t>(state.range(2));
    for (auto _ : state) {
        pair.round(depth);
    }
    count_requests(state, depth);
}

double thread_cpu_s() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// The engine's share: only `serve` is timed (this thread's CPU), the driver's work is
/// not.
void BM_EngineAlone(benchmark::State& state) {
    QueuePair pair(state.range(0) != 0, state.range(1) != 0);
    const auto depth = static_cast<std::uint64_t>(state.range(2));
    for (auto _ : state) {
        pair.submit(depth);
        const double start = thread_cpu_s();
        pair.serve();
        state.SetIterationTime(thread_cpu_s() - start);
        pair.collect();
    }
    count_requests(state, depth);
}

/// Requests per second of this thread's own CPU time.
double run_for_cpu_rate(bool packed, std::uint64_t depth) {
    constexpr std::uint64_t rounds = 20000;
    QueuePair pair(packed, true);
    const double start = thread_cpu_s();
    for (std::uint64_t i = 0; i < rounds; ++i) {
        pair.round(depth);
    }
    return static_cast<double>(rounds * depth) / (thread_cpu_s() - start);
}

/// Two queues on two threads against one: the sum of what each gets out of a second of CPU, so that
/// other load on the machine drops out while anything the queues share would show.
void BM_TwoQueues(benchmark::State& state) {
    const bool packed = state.range(0) != 0;
    const auto depth = static_cast<std::uint64_t>(state.range(1));
    double one = 0;
    double two = 0;
    for (auto _ : state) {
        one += run_for_cpu_rate(packed, depth);
        double first = 0;
        std::thread other([&] { first = run_for_cpu_rate(packed, depth); });
        const double second = run_for_cpu_rate(packed, depth);
        other.join();
        two += first + second;
    }
    const auto iterations = static_cast<double>(state.iterations());
    state.counters["one"] = benchmark::Counter(one / iterations, benchmark::Counter::kDefaults,
                                               benchmark::Counter::kIs1000);
    state.counters["two"] = benchmark::Counter(two / iterations, benchmark::Counter::kDefaults,
                                               benchmark::Counter::kIs1000);
    state.counters["ratio"] = two / one;
}

/// Driver and device each on a thread of its own, polling: a round trip through shared memory.
/// Needs two idle cores; on a busy machine `best_ms`, the best millisecond, is the one to look at.
void BM_PolledAcrossThreads(benchmark::State& state) {
    using Clock = std::chrono::steady_clock;
    QueuePair pair(state.range(0) != 0, false);
    const auto depth = static_cast<std::uint64_t>(state.range(1));
    std::atomic<bool> stop = false;
    std::thread device([&] {
        while (!stop.load(std::memory_order_relaxed)) {
            pair.serve();
        }
    });
    double best = 0;
    std::uint64_t in_window = 0;
    Clock::time_point window = Clock::now();
    for (auto _ : state) {
        pair.submit(depth);
        for (std::uint64_t left = depth; left > 0;) {
            left -= pair.collect();
        }
        in_window += depth;
        const std::chrono::duration<double> elapsed = Clock::now() - window;
        if (elapsed.count() >= 0.001) {
            best = std::max(best, static_cast<double>(in_window) / elapsed.count());
            in_window = 0;
            window = Clock::now();
        }
    }
    stop = true;
    device.join();
    count_requests(state, depth);
    state.counters["best_ms"] =
        benchmark::Counter(best, benchmark::Counter::kDefaults, benchmark::Counter::kIs1000);
}

BENCHMARK(BM_NullDevice)
    ->ArgNames({"packed", "indirect", "depth"})
    ->Args({0, 0, 1})
    ->Args({1, 0, 1})
    ->Args({0, 1, 1})
    ->Args({1, 1, 1})
    ->Args({0, 1, 128})
    ->Args({1, 1, 128})
    ->Args({0, 0, 85})
    ->Args({1, 0, 85});
BENCHMARK(BM_TwoQueues)
    ->ArgNames({"packed", "depth"})
    ->ArgsProduct({{0, 1}, {1, 128}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(BM_EngineAlone)
    ->ArgNames({"packed", "indirect", "depth"})
    ->Args({0, 0, 64})
    ->Args({1, 0, 64})
    ->Args({0, 1, 128})
    ->Args({1, 1, 128})
    ->UseManualTime();
BENCHMARK(BM_PolledAcrossThreads)
    ->ArgNames({"packed", "depth"})
    ->ArgsProduct({{0, 1}, {1, 64}})
    ->UseRealTime();

}  // namespace
}  // namespace cupule

BENCHMARK_MAIN();
