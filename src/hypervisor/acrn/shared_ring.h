#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.h"
#include "hypervisor/acrn/acrn_abi.h"

namespace cupule::hypervisor::acrn {

/// A page of this process that the hypervisor fills as a ring, and this process empties (ACRN's
/// shared buffer). One reader.
class SharedRing {
  public:
    /// `element_size`: bytes, up to those of an event.
    static base::Result<std::unique_ptr<SharedRing>> create(std::uint32_t element_size);
    ~SharedRing();
    SharedRing(const SharedRing&) = delete;
    SharedRing& operator=(const SharedRing&) = delete;

    std::uintptr_t address() const { return reinterpret_cast<std::uintptr_t>(page_); }
    /// The oldest event, taken out; of a ring of events.
    std::optional<VmEvent> take();

  private:
    SharedRing(void* page, std::uint32_t element_size);

    SharedRingHeader* const page_;
    const std::uint32_t size_;
};

}  // namespace cupule::hypervisor::acrn
