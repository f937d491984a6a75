#include "control/pc_commands.h"

namespace cupule::control {

RunState PcCommands::state() const {
    return pc_.at_rest() ? RunState::suspended : RunState::running;
}

std::vector<std::string> PcCommands::statistics() const {
    return pc_.statistics(machine::StatisticsDetail::histograms);
}

base::Result<void> PcCommands::stop() {
    pc_.press_power_button();
    return {};
}

base::Result<void> PcCommands::destroy() {
    if (!may_destroy_) {
        return base::fail("a real-time virtual machine on ACRN ends by itself only");
    }
    pc_.force_end(machine::EndReason::forced_stop, "a manager's command");
    return {};
}

base::Result<void> PcCommands::reset() {
    pc_.request_reset();
    return {};
}

base::Result<void> PcCommands::suspend() {
    return pc_.pause();
}

base::Result<void> PcCommands::resume() {
    return pc_.go_on();
}

base::Result<void> PcCommands::insert_disk(unsigned slot, const std::string& path) {
    return pc_.insert_disk(slot, path);
}

base::Result<void> PcCommands::inflate(unsigned slot, std::uint64_t mib) {
    return pc_.inflate(slot, mib);
}

}  // namespace cupule::control
