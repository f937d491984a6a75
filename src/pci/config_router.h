#pragma once

#include <cstdint>

#include "io/io_dispatcher.h"
#include "pci/bus.h"

namespace cupule::pci {

/// Answers configuration accesses by BDF: bus 0 is the root bus, others are found by the bus
/// numbers in the bridges. Takes the function's monitor, and only that. Any thread. Nobody there:
/// ones, and writes are dropped.
class ConfigRouter : public io::PciConfigAccess {
  public:
    /// `root` outlives the router.
    explicit ConfigRouter(const Bus& root) : root_(root) {}

    /// The function that answers at `bdf` now, or nullptr.
    const BusEntry* find(io::PciAddress bdf) const;

    std::uint64_t read_config(io::PciAddress bdf, std::uint64_t offset, unsigned size) override;
    void write_config(io::PciAddress bdf, std::uint64_t offset, unsigned size,
                      std::uint64_t value) override;
    std::string_view function_name(io::PciAddress bdf) const override;
    std::string_view config_register_name(std::uint64_t offset) const override;

  private:
    const Bus& root_;
};

}  // namespace cupule::pci
