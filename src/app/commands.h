#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/run_options.h"
#include "app/vm_options.h"

namespace cupule::app {

/// `cupule hsm`.
struct HsmOptions {
    /// Name of the device below /dev.
    std::string device = "acrn_hsm";
    struct SharedMemory {
        /// "hv:/NAME"
        std::string name;
        std::uint32_t size_mb = 0;
    };
    /// What its virtual machines can have of memory between them.
    std::vector<SharedMemory> shared_memory{};
};

/// `cupule serve`.
struct ServeOptions {
    /// "virtio-blk" or "virtio-net".
    std::string device;
    /// As behind `-s N,virtio-blk,`.
    std::string options;
    std::string socket;
    /// The longest look for work before a worker sleeps.
    std::uint64_t poll_ns = 50'000;
    /// As VmOptions has it.
    std::optional<std::uint32_t> statistics_period_s{};
};

/// The world of a command, so that tests can stand in for it.
struct CommandContext {
    std::function<void(std::string_view text)> print;
    /// Whole lines to standard error.
    std::function<void(std::string_view text)> complain;
    HostQueries host;
    std::function<int(const VmOptions& options)> run_machine;
    std::function<int(const HsmOptions& options)> run_hsm{};
    std::function<int(const ServeOptions& options)> run_serve{};
};

/// One word behind `cupule`.
struct Command {
    std::string_view name;
    std::string_view grammar;
    std::string_view help;
    /// What it says to --help is its own, not made of the above.
    bool has_own_help = false;
    /// Returns the exit status.
    int (*run)(std::span<const std::string_view> arguments, const CommandContext& context);
};

/// All of them, in the order in which help lists them.
std::span<const Command> commands();

/// The whole program: `words` are argv, the program's name included. Returns the exit status.
int run_program(std::span<const std::string_view> words, const CommandContext& context);

}  // namespace cupule::app
