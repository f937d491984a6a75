#include "control/commands.h"

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

}  // namespace cupule::control
