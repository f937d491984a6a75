#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace cupule::app {

/// The whole of a small file, such as one of /proc or /sys (at most 4 MB of it). Errors name the
/// path.
base::Result<std::string> read_file(const std::string& path);

/// Size in bytes of a file that can be opened for reading: the length of a regular file, the
/// capacity of a block device. Errors name the path.
base::Result<std::uint64_t> readable_file_size(const std::string& path);

}  // namespace cupule::app
