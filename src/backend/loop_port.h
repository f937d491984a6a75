#pragma once

#include <memory>

#include "backend/net_port.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// A wire whose two ends are one: what is sent comes back, as with a loopback plug. For tests of a
/// guest's driver and to measure a card by itself. Holds up to `loop_frames_max` frames, each at
/// most 64 KiB long; more are lost. On the thread of `loop`, which outlives it, as the monitor
/// does.
std::unique_ptr<NetPort> make_loop_port(event::EventLoop& loop, event::Monitor& monitor);
inline constexpr std::size_t loop_frames_max = 512;

}  // namespace cupule::backend
