#pragma once

#include <cstddef>
#include <span>

#include "base/error.h"

namespace cupule::vhost_user {

/// Lets this process outlive a peer that shares memory with it and then cuts the file short: the
/// first access that faults (SIGBUS) puts private zeros in the place of the whole mapping. The
/// process gets one handler for the signal with the first guard; faults elsewhere end it as ever.
/// Any thread.
class FaultGuard {
  public:
    /// Of a mapping that outlives the guard. Fails when there are too many.
    static base::Result<FaultGuard> create(std::span<std::byte> mapping);
    FaultGuard(FaultGuard&& other) noexcept;
    FaultGuard& operator=(FaultGuard&&) = delete;
    ~FaultGuard();

    bool faulted() const;

  private:
    explicit FaultGuard(std::size_t slot) : slot_(slot) {}

    std::size_t slot_;
};

}  // namespace cupule::vhost_user
