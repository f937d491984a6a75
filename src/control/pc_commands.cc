#include "control/pc_commands.h"

#include <charconv>

namespace cupule::control {

base::Result<void> rescan_disk(Commands& commands, std::string_view arguments) {
    const auto comma = arguments.find(',');
    const std::string_view number = arguments.substr(0, comma);
    unsigned slot = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), slot);
    if (comma == std::string_view::npos || comma + 1 == arguments.size() || error != std::errc{} ||
        end != number.data() + number.size()) {
        return base::fail("blkrescan takes SLOT,PATH with a decimal slot, not '{}'",
                          arguments.substr(0, 80));
    }
    return commands.insert_disk(slot, std::string(arguments.substr(comma + 1)));
}

RunState PcCommands::state() const {
    return pc_.at_rest() ? RunState::suspended : RunState::running;
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

}  // namespace cupule::control
