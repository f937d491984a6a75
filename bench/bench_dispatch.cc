// Dispatch of a guest's access among 64 ranges, device lock included, on one thread and on two that
// use different devices of one machine. Beside it two threads with a machine of their own each:
// what this computer's processors can do together at all (two threads of one core do less than two
// cores). And what a lock around one map costs.
//
// cpu_ns is CPU time of the thread for one access: it does not count the time other programs take.

#include <benchmark/benchmark.h>
#include <time.h>

#include <array>
#include <map>
#include <memory>
#include <thread>

#include "base/assert.h"
#include "event/mutex.h"
#include "io/io_dispatcher.h"

namespace {

using namespace cupule;

constexpr unsigned range_count = 64;
constexpr std::uint64_t range_stride = 0x10;
constexpr unsigned threads_max = 2;

class alignas(128) Register : public io::IoHandler {
  public:
    std::uint64_t read(std::uint64_t, unsigned) override { return value_; }
    void write(std::uint64_t, unsigned, std::uint64_t value) override { value_ = value; }

  private:
    std::uint64_t value_ = 0;
};

struct alignas(128) Part {
    event::Monitor monitor;
    Register handler;
};

std::uint64_t base_of(unsigned range) {
    return 0x1000 + range * range_stride;
}

struct Machine {
    Machine() {
        for (unsigned i = 0; i < range_count; ++i) {
            const auto mapped = dispatcher.ports().map_fixed({.base = base_of(i),
                                                              .size = 8,
                                                              .handler = &parts.at(i).handler,
                                                              .monitor = &parts.at(i).monitor,
                                                              .name = "part"});
            CUPULE_ASSERT(mapped.has_value());
        }
    }
    std::array<Part, range_count> parts;
    io::IoDispatcher dispatcher{threads_max};
};

/// The machine all threads share, then one for each thread.
Machine& machine(unsigned number = 0) {
    static std::array<Machine, 1 + threads_max> instances;
    return instances.at(number);
}

double thread_cpu_ns() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

/// Each thread visits its own half of the ranges, as vCPUs that drive different devices do.
unsigned next_range(unsigned step, unsigned thread) {
    return (step * 7 % (range_count / threads_max)) * threads_max + thread;
}

void dispatch_on(benchmark::State& state, io::IoDispatcher& dispatcher) {
    const auto thread = static_cast<unsigned>(state.thread_index());
    unsigned step = 0;
    const double start = thread_cpu_ns();
    for (auto _ : state) {
        io::IoRequest request{.kind = io::IoKind::port,
                              .direction = io::IoDirection::write,
                              .state = io::IoState::processing,
                              .size = 4,
                              .vcpu = static_cast<std::uint16_t>(thread),
                              .address = base_of(next_range(step++, thread)),
                              .value = step};
        dispatcher.handle(request);
        benchmark::DoNotOptimize(request);
    }
    state.counters["cpu_ns"] =
        benchmark::Counter((thread_cpu_ns() - start) / static_cast<double>(state.iterations()),
                           benchmark::Counter::kAvgThreads);
    state.SetItemsProcessed(state.iterations());
}

void dispatch(benchmark::State& state) {
    dispatch_on(state, machine().dispatcher);
}
BENCHMARK(dispatch)->Threads(1)->Threads(2)->UseRealTime();

void dispatch_in_own_machine(benchmark::State& state) {
    dispatch_on(state, machine(1 + static_cast<unsigned>(state.thread_index())).dispatcher);
}
BENCHMARK(dispatch_in_own_machine)->Threads(1)->Threads(2)->UseRealTime();

/// The plain way: one lock around one ordered map, and the device under it.
void one_lock_and_map(benchmark::State& state) {
    static event::Mutex mutex;
    static std::map<std::uint64_t, io::IoHandler*> ranges;
    if (state.thread_index() == 0) {
        event::MutexLock lock(mutex);
        for (unsigned i = 0; i < range_count; ++i) {
            ranges[base_of(i)] = &machine().parts.at(i).handler;
        }
    }
    const auto thread = static_cast<unsigned>(state.thread_index());
    unsigned step = 0;
    for (auto _ : state) {
        event::MutexLock lock(mutex);
        const auto after = ranges.upper_bound(base_of(next_range(step++, thread)));
        std::prev(after)->second->write(0, 4, step);
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(one_lock_and_map)->Threads(1)->Threads(2)->UseRealTime();

}  // namespace

int main(int argc, char** argv) {
    // A process that never had a second thread locks without atomic operations (glibc); a device
    // model always has one, so the first benchmark must not be measured without.
    std::thread([] {}).join();
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
