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

}  // namespace cupule::control
