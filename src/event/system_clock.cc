#include "event/system_clock.h"

#include <ctime>

namespace cupule::event {
namespace {

std::int64_t read_clock(clockid_t id) {
    timespec time{};
    clock_gettime(id, &time);
    return static_cast<std::int64_t>(time.tv_sec) * static_cast<std::int64_t>(ns_per_s) +
           time.tv_nsec;
}

}  // namespace

std::uint64_t SystemClock::now_ns() const {
    return static_cast<std::uint64_t>(read_clock(CLOCK_MONOTONIC));
}

std::int64_t SystemClock::wall_ns() const {
    return read_clock(CLOCK_REALTIME);
}

}  // namespace cupule::event
