#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "backend/stream_host.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// Streams over Unix sockets, named as Firecracker and Cloud Hypervisor do: `path`_PORT is the
/// socket of the program that serves PORT; whoever wants to talk to the other side's port P
/// connects to `path` and sends "CONNECT P\n", to which "OK PORT\n" is the answer once the other
/// side agrees, and an end of the connection when it does not.
///
/// `path` is made with mode 0600; a socket file nobody listens on is replaced, and the file goes
/// with the host. On the thread of `loop`, which outlives all of it, as the monitor does.
base::Result<std::unique_ptr<StreamHost>> open_unix_streams(const std::string& path,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor);
/// Callers that have not said all of "CONNECT P\n"; the oldest one makes room for the next.
inline constexpr std::size_t unix_callers_max = 16;

/// A connected stream socket as a HostStream.
base::Result<std::unique_ptr<HostStream>> make_socket_stream(base::FileDescriptor socket,
                                                             event::EventLoop& loop,
                                                             event::Monitor& monitor);

}  // namespace cupule::backend
