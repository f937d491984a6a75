#pragma once

#include <memory>
#include <string>

#include "backend/byte_channel.h"
#include "base/error.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// A new pseudo terminal. Its path (/dev/pts/N) is logged as a notice; where `symlink` is not
/// empty a symbolic link there points to it while the channel exists (a link that is there is
/// replaced, any other file is an error). Connected while a program has the terminal open; output
/// before that is dropped.
base::Result<std::unique_ptr<ByteChannel>> open_pty_channel(const std::string& symlink,
                                                            event::EventLoop& loop,
                                                            event::Monitor& monitor);

}  // namespace cupule::backend
