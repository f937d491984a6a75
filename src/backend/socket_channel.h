#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/byte_channel.h"
#include "base/error.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// Servers have one client at a time; the next is served when that one leaves. Output while nobody
/// is connected is dropped.

/// A server on the Unix socket `path` with mode 0600. A socket file nobody listens on is replaced;
/// a server that listens there, or any other file, is an error. The file goes with the channel.
base::Result<std::unique_ptr<ByteChannel>> open_unix_server(const std::string& path,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor);

/// A client of the Unix socket `path`, whose server must be there now. When it leaves, a new
/// connection is tried every `reconnect_ms`.
base::Result<std::unique_ptr<ByteChannel>> open_unix_client(const std::string& path,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor);
inline constexpr std::uint64_t reconnect_ms = 200;

/// A TCP server. `address` is an IPv4 or IPv6 address in figures; there is no authentication, so
/// anything but loopback is for trusted networks. `port` 0 lets the host choose; the log names it.
base::Result<std::unique_ptr<ByteChannel>> open_tcp_server(const std::string& address,
                                                           std::uint16_t port,
                                                           event::EventLoop& loop,
                                                           event::Monitor& monitor);

}  // namespace cupule::backend
