#pragma once

#include <string>
#include <vector>

#include "control/commands.h"

namespace cupule::control::testing {

/// Writes down what is asked, and refuses it where `refuses` is set.
class RecordedCommands : public Commands {
  public:
    RunState state() const override { return state_now; }
    std::vector<std::string> statistics() const override { return {"a \"line\"", "another"}; }
    base::Result<void> stop() override { return note("stop"); }
    base::Result<void> destroy() override { return note("destroy"); }
    base::Result<void> reset() override { return note("reset"); }
    base::Result<void> suspend() override { return note("suspend"); }
    base::Result<void> resume() override { return note("resume"); }
    base::Result<void> insert_disk(unsigned slot, const std::string& path) override {
        return note(fmt::format("insert {} {}", slot, path));
    }
    base::Result<void> inflate(unsigned slot, std::uint64_t mib) override {
        return note(fmt::format("inflate {} {}", slot, mib));
    }

    RunState state_now = RunState::running;
    bool refuses = false;
    std::vector<std::string> asked;

  private:
    base::Result<void> note(std::string what) {
        asked.push_back(std::move(what));
        if (refuses) {
            return base::fail("not today");
        }
        return {};
    }
};

}  // namespace cupule::control::testing
