#pragma once

#include <memory>
#include <string>

#include "backend/byte_channel.h"
#include "base/error.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// Output into the file `path`, made (mode 0600) or emptied first; no input. A FIFO needs its
/// reader beforehand. When the disk is full the rest is dropped, with one line in the log.
base::Result<std::unique_ptr<ByteChannel>> open_file_channel(const std::string& path,
                                                             event::EventLoop& loop,
                                                             event::Monitor& monitor);

}  // namespace cupule::backend
