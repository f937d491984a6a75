#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "app/exit_codes.h"
#include "app/host_cpus.h"
#include "app/problem.h"
#include "app/vm_options.h"
#include "base/error.h"

namespace cupule::app {

/// What reading a command line asks the host; tests answer themselves.
struct HostQueries {
    std::function<base::Result<std::uint64_t>(const std::string& path)> file_size;
    std::function<HostCpus()> cpus;
    /// Whether a back end's specification (`-l com1,SPEC`) is well formed.
    std::function<base::Result<void>(std::string_view spec)> check_channel;
};

/// This host.
HostQueries host_queries();

/// What `cupule run` is to do.
enum class RunAction : std::uint8_t { run, check, help, version };

struct RunRequest {
    RunAction action = RunAction::run;
    /// Complete only when no errors were found.
    VmOptions options;
};

/// Reads the words behind `cupule run`. Everything wrong is in `problems`: grammar, values, and
/// what does not fit together or to this host. Starts nothing and changes nothing. `as_acrn_dm`:
/// the program was called by that name.
RunRequest read_run_options(std::span<const std::string_view> words, const HostQueries& host,
                            Problems& problems, bool as_acrn_dm = false);

}  // namespace cupule::app
