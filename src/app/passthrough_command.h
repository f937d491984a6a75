#pragma once

#include <span>
#include <string_view>

#include "app/commands.h"

namespace cupule::app {

/// `cupule passthrough list | bind DEVICE... | unbind DEVICE...`: the host's PCI functions, and
/// giving them to vfio-pci and back. `words`: what follows `passthrough`. Returns the exit status.
int passthrough_command(std::span<const std::string_view> words, const CommandContext& context);

}  // namespace cupule::app
