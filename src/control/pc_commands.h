#pragma once

#include "control/commands.h"
#include "machine/pc.h"

namespace cupule::control {

/// The commands as a PC carries them out.
class PcCommands : public Commands {
  public:
    /// `may_destroy`: false for ACRN's real-time machines, which only end by themselves.
    PcCommands(machine::Pc& pc, bool may_destroy) : pc_(pc), may_destroy_(may_destroy) {}

    RunState state() const override;
    std::vector<std::string> statistics() const override;
    base::Result<void> stop() override;
    base::Result<void> destroy() override;
    base::Result<void> reset() override;
    base::Result<void> suspend() override;
    base::Result<void> resume() override;
    base::Result<void> insert_disk(unsigned slot, const std::string& path) override;
    base::Result<void> inflate(unsigned slot, std::uint64_t mib) override;

  private:
    machine::Pc& pc_;
    const bool may_destroy_;
};

}  // namespace cupule::control
