#pragma once

#include "backend/stdio_channel.h"

namespace cupule::app {

/// As long as it lives, a signal that kills the process for a fault (SIGSEGV, SIGABRT, which our
/// own assertions raise, ...) or at somebody's wish (SIGQUIT) gives the terminal back first. The
/// signal then does what it would have done. One at a time in a process.
class FatalSignals {
  public:
    /// `stdio` outlives this.
    explicit FatalSignals(backend::StdioOwner& stdio);
    ~FatalSignals();
    FatalSignals(const FatalSignals&) = delete;
    FatalSignals& operator=(const FatalSignals&) = delete;
};

}  // namespace cupule::app
