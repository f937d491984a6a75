#include "control/commands.h"

#include "base/text.h"

namespace cupule::control {

base::Result<void> rescan_disk(Commands& commands, std::string_view arguments) {
    const auto [number, path] = base::cut(arguments, ',');
    const auto slot = base::to_number<unsigned>(number);
    if (!slot || path.empty()) {
        return base::fail("blkrescan takes SLOT,PATH with a decimal slot, not '{}'",
                          arguments.substr(0, 80));
    }
    return commands.insert_disk(*slot, std::string(path));
}

base::Result<void> set_balloon(Commands& commands, std::string_view arguments) {
    const auto [number, size] = base::cut(arguments, ',');
    const auto slot = base::to_number<unsigned>(number);
    const auto mib = base::to_number<std::uint64_t>(size);
    if (!slot || !mib) {
        return base::fail("balloon takes SLOT,MIB, two decimal numbers, not '{}'",
                          arguments.substr(0, 80));
    }
    return commands.inflate(*slot, *mib);
}

}  // namespace cupule::control
