#pragma once

#include <memory>
#include <string>

#include "backend/net_port.h"
#include "base/error.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// Frames over Unix stream sockets, each behind its length as 32 bits in network byte order: what
/// QEMU's `-netdev stream` and passt speak.

/// A hub at the Unix socket `path` (mode 0600) for up to `hub_members_max` clients: each frame goes
/// to all others. A socket file nobody listens on is replaced; the file goes with the port. On the
/// thread of `loop`, which outlives it, as the monitor does.
base::Result<std::unique_ptr<NetPort>> open_hub_server(const std::string& path,
                                                       event::EventLoop& loop,
                                                       event::Monitor& monitor);
inline constexpr std::size_t hub_members_max = 32;

/// A client of the socket `path`, whose server must be there now. When that leaves, the link is
/// down, and a new connection is tried every `hub_retry_ms`.
base::Result<std::unique_ptr<NetPort>> open_hub_client(const std::string& path,
                                                       event::EventLoop& loop,
                                                       event::Monitor& monitor);
inline constexpr std::uint64_t hub_retry_ms = 200;

}  // namespace cupule::backend
