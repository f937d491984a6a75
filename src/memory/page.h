#pragma once

#include <cstdint>

namespace cupule::memory {

/// The smallest page of the processor, of guests and host alike (Intel SDM volume 3, 4.2).
inline constexpr std::uint64_t page_size = 4096;

}  // namespace cupule::memory
