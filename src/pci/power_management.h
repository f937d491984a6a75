#pragma once

#include <cstdint>

#include "pci/function.h"

namespace cupule::pci {

/// The power management capability (PCI Bus Power Management Interface 1.2, 3.2): D0 and D3hot, no
/// PME, no soft reset on the way back. In D3hot BARs do not decode and INTx is silent.
class PowerManagement : public FunctionPart {
  public:
    explicit PowerManagement(Function& function);

    bool decodes() const override { return in_d0(); }
    bool replaces_intx() const override { return !in_d0(); }
    void config_written(std::uint64_t offset, unsigned size) override;
    void reset() override { state_ = 0; }
    void visit(snapshot::Visitor& visitor) override;

  private:
    bool in_d0() const;
    void settle();

    Function& function_;
    const std::uint16_t offset_;
    /// The state before a write, for writes of states that do not exist.
    std::uint8_t state_ = 0;
};

}  // namespace cupule::pci
