#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "event/mutex.h"
#include "io/io_request.h"

namespace cupule::io {

/// A write that only wakes somebody (ioeventfd): no device is entered.
struct Doorbell {
    IoKind kind = IoKind::mmio;  // port or mmio
    std::uint64_t address = 0;
    /// Bytes of the write that rings: 1, 2, 4 or 8.
    std::uint8_t size = 2;
    /// Rings only for this value; any value when empty.
    std::optional<std::uint64_t> match;
    /// Stays the caller's; open while registered.
    int eventfd = -1;

    bool operator==(const Doorbell&) const = default;
};

/// Doorbells where no kernel keeps them: the first I/O client of the fake hypervisor and of the
/// HSM.
class DoorbellTable {
  public:
    /// EEXIST when the same doorbell is there already.
    base::Result<void> add(const Doorbell& doorbell) CUPULE_EXCLUDES(mutex_);
    void remove(const Doorbell& doorbell) CUPULE_EXCLUDES(mutex_);
    /// Rings and completes the request when a doorbell matches; false otherwise.
    bool ring(IoRequest& request) CUPULE_EXCLUDES(mutex_);

  private:
    event::Mutex mutex_;
    std::vector<Doorbell> doorbells_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::io
