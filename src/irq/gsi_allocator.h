#pragma once

#include <optional>
#include <vector>

#include "irq/interrupt.h"

namespace cupule::irq {

/// Hands out GSIs for PCI INTx pins: in ascending order from `first`, and when all are taken the
/// least used again (level lines may share). Not thread-safe: used while a machine is put together.
class GsiAllocator {
  public:
    /// GSIs `first` to `last`, both included.
    GsiAllocator(Gsi first, Gsi last);
    Gsi allocate();
    /// How many users a GSI has.
    unsigned users(Gsi gsi) const;

  private:
    Gsi first_;
    std::vector<unsigned> users_;
};

}  // namespace cupule::irq
