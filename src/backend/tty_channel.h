#pragma once

#include <memory>
#include <string>

#include "backend/byte_channel.h"
#include "base/error.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// A terminal device of the host (a serial port, /dev/pts/N) in raw mode; its mode comes back with
/// the channel's end. Speed and format stay as `stty` left them. When the device goes away (an
/// unplugged adapter, the other side of a pty closed) the channel is an open wire from then on.
base::Result<std::unique_ptr<ByteChannel>> open_tty_channel(const std::string& path,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor);

}  // namespace cupule::backend
