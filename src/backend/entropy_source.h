#pragma once

#include <cstddef>
#include <span>

#include "base/error.h"

namespace cupule::backend {

/// Where random bytes come from. Any thread.
class EntropySource {
  public:
    virtual ~EntropySource() = default;
    /// Fills all of `to` with bytes fit for keys, or fails. Must not wait for long.
    virtual base::Result<void> fill(std::span<std::byte> to) = 0;
};

/// The host kernel's generator: getrandom(2), the source of /dev/urandom.
class KernelEntropy : public EntropySource {
  public:
    base::Result<void> fill(std::span<std::byte> to) override;
};

}  // namespace cupule::backend
