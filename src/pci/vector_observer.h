#pragma once

#include <optional>

#include "irq/interrupt.h"

namespace cupule::pci {

/// Hears what a vector of MSI or MSI-X sends, for whoever sends it without the device: an irqfd, a
/// passed-through function. Called with the function's monitor held, only when it changes.
class VectorObserver {
  public:
    virtual ~VectorObserver() = default;
    /// `message`: what to send from now on, or std::nullopt while the vector is masked or disabled.
    /// Then events must come to `notify`, which remembers them as pending. A message that was
    /// pending is sent right after this call.
    virtual void vector_changed(unsigned vector, std::optional<irq::MsiMessage> message) = 0;
};

}  // namespace cupule::pci
