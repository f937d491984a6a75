#pragma once

#include <cstdint>
#include <vector>

#include "io/io_handler.h"

namespace cupule::pci {

/// Divides a BAR between several handlers (an MSI-X table beside a device's registers). Built once;
/// then read-only. Accesses that are not wholly inside one region read as ones and write nothing.
class BarRegions : public io::IoHandler {
  public:
    /// [offset, offset + size) must be free: overlaps are asserted. `handler` outlives this.
    void add(std::uint64_t offset, std::uint64_t size, io::IoHandler& handler);

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t offset) const override;

  private:
    struct Region {
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
        io::IoHandler* handler = nullptr;
    };
    const Region* find(std::uint64_t offset, unsigned size) const;
    std::vector<Region> regions_;
};

}  // namespace cupule::pci
