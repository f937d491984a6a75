// Dispatch of a guest's access among 64 ranges, device lock included, on one thread and on two that
// use different devices. Compared with what a lock around one map costs.

#include <benchmark/benchmark.h>

#include <array>
#include <map>
#include <memory>

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

Machine& machine() {
    static Machine instance;
    return instance;
}

/// Each thread visits its own half of the ranges, as vCPUs that drive different devices do.
unsigned next_range(unsigned step, unsigned thread) {
    return (step * 7 % (range_count / threads_max)) * threads_max + thread;
}

void dispatch(benchmark::State& state) {
    io::IoDispatcher& dispatcher = machine().dispatcher;
    const auto thread = static_cast<unsigned>(state.thread_index());
    unsigned step = 0;
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
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(dispatch)->Threads(1)->Threads(2)->UseRealTime();

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

BENCHMARK_MAIN();
