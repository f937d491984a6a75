#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cupule::control {

enum class RunState : std::uint8_t { running, suspended };

/// What clients outside may ask of a machine. Called on the control thread with no lock held; each
/// call returns at once.
class Commands {
  public:
    virtual ~Commands() = default;
    virtual RunState state() const = 0;
    /// What the machine and its devices have done so far: a line each.
    virtual std::vector<std::string> statistics() const = 0;
    /// Presses the power button: the guest decides what follows. A paused machine runs on first.
    virtual base::Result<void> stop() = 0;
    /// Ends the machine without asking the guest.
    virtual base::Result<void> destroy() = 0;
    virtual base::Result<void> reset() = 0;
    /// Holds the processors until `resume`.
    virtual base::Result<void> suspend() = 0;
    /// After `suspend`, or wakes a guest that sleeps (S3). A running machine stays as it is.
    virtual base::Result<void> resume() = 0;
    /// A drive without a disk gets one; the guest is told.
    virtual base::Result<void> insert_disk(unsigned slot, const std::string& path) = 0;
    /// A balloon asks the guest to give up so much of its memory in all.
    virtual base::Result<void> inflate(unsigned slot, std::uint64_t mib) = 0;
};

/// blkrescan: `arguments` is SLOT,PATH, the slot decimal.
base::Result<void> rescan_disk(Commands& commands, std::string_view arguments);

/// balloon: `arguments` is SLOT,MIB, both decimal.
base::Result<void> set_balloon(Commands& commands, std::string_view arguments);

}  // namespace cupule::control
