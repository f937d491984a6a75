#pragma once

#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace cupule::backend {

/// Stream sockets at a path of the host, non-blocking and close-on-exec. Errors name the path.

base::Result<base::FileDescriptor> connect_unix(const std::string& path);

/// Listens at `path` with mode 0600. A socket file nobody listens on is replaced; a server that
/// listens there, or any other file, is an error. The file is the caller's to remove.
base::Result<base::FileDescriptor> listen_unix(const std::string& path, int waiting_clients_max);

}  // namespace cupule::backend
