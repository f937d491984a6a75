#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace cupule::backend {

/// Reads `PER_SECOND[/BURST]`, numbers above 0 with K, M or G (of 1024) behind them; without a
/// burst that is set to 0. `name` stands in errors.
base::Result<void> parse_rate(std::string_view name, std::string_view text, std::uint64_t& rate,
                              std::uint64_t& burst);

}  // namespace cupule::backend
