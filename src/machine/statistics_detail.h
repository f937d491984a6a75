#pragma once

#include <cstdint>

namespace cupule::machine {

/// How much statistics say of latencies.
enum class StatisticsDetail : std::uint8_t { percentiles, histograms };

}  // namespace cupule::machine
