#pragma once

#include <span>
#include <string_view>

#include "app/commands.h"

namespace cupule::app {

/// `cupule serve`: reads the words behind it, checks what can be checked without touching the host,
/// and hands the rest to the context. The exit status.
int serve_command(std::span<const std::string_view> words, const CommandContext& context);

}  // namespace cupule::app
