#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"

namespace cupule::backend {

/// One for each worker thread: the processors of the host it may run on, empty for all.
using WorkerCpus = std::vector<std::vector<unsigned>>;

/// Whether a word of a device's options is acrn-dm's `iothread` or begins with `iothread=`.
bool is_worker_word(std::string_view word);

/// Reads `iothread[=N[@CPU[:CPU...][/CPU[:CPU...]...]]]`: 1 to 40 threads and for each, from the
/// first on, its processors. The error names what is wrong.
base::Result<WorkerCpus> parse_workers(std::string_view word);

}  // namespace cupule::backend
