#pragma once

#include <cstdint>

#include "pci/function.h"

namespace cupule::pci {

/// What a power management capability offers.
struct PowerManagementLayout {
    /// PMC's version and the bits software reads only; PME is never offered.
    std::uint16_t capabilities = 3;
    /// False: going from D3hot to D0 resets the function, which the device hears as
    /// FunctionEvents::function_level_reset (the configuration space but for this register too).
    bool no_soft_reset = true;
    /// Where the capability stands; 0: the first free place.
    std::uint16_t at = 0;
};

/// The power management capability (PCI Bus Power Management Interface 1.2, 3.2): D0 and D3hot, no
/// PME. In D3hot the function only answers to configuration: BARs do not decode, INTx is silent,
/// and it does not master the bus.
class PowerManagement : public FunctionPart {
  public:
    explicit PowerManagement(Function& function, const PowerManagementLayout& layout = {});

    static constexpr unsigned length = 8;

    bool is_powered() const override { return in_d0(); }
    void config_written(std::uint64_t offset, unsigned size) override;
    void reset() override { state_ = 0; }
    void visit(snapshot::Visitor& visitor) override;

  private:
    bool in_d0() const;
    void settle();

    Function& function_;
    const bool no_soft_reset_;
    const std::uint16_t offset_;
    /// The state before a write, for writes of states that do not exist.
    std::uint8_t state_ = 0;
};

}  // namespace cupule::pci
