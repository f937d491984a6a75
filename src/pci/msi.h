#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "irq/interrupt.h"
#include "pci/function.h"
#include "pci/vector_observer.h"

namespace cupule::pci {

/// The MSI capability (PCI Local Bus 3.0, 6.8.1): 64-bit address, per-vector masking, up to 32
/// vectors. A vector that is masked, or whose function may not write memory (bus master off), is
/// remembered in the pending bits and sent when it may be.
class Msi : public FunctionPart {
  public:
    static constexpr unsigned vectors_max = 32;

    /// `vectors`: a power of two from 1 to 32. `sink` outlives this.
    Msi(Function& function, irq::MessageSink& sink, unsigned vectors);

    std::uint16_t offset() const { return offset_; }
    bool enabled() const;
    /// How many vectors the guest has granted: at most as many as were offered, at least 1.
    unsigned granted() const;
    /// Sends a vector, or makes it pending. With fewer granted than offered, vectors wrap. Nothing
    /// happens while MSI is disabled.
    void notify(unsigned vector);
    /// `observer` outlives this; told at once of vectors that can send now. nullptr: nobody.
    void set_observer(VectorObserver* observer);

    void config_written(std::uint64_t offset, unsigned size) override;
    void reset() override;
    void visit(snapshot::Visitor& visitor) override;
    bool replaces_intx() const override { return enabled(); }

  private:
    std::uint16_t control() const;
    std::optional<irq::MsiMessage> message(unsigned vector) const;
    void update_vectors();
    std::uint16_t at(unsigned delta) const { return static_cast<std::uint16_t>(offset_ + delta); }

    Function& function_;
    irq::MessageSink& sink_;
    const unsigned vectors_;
    const std::uint16_t offset_;
    VectorObserver* observer_ = nullptr;
    /// What the observer knows.
    std::array<std::optional<irq::MsiMessage>, vectors_max> messages_{};
};

}  // namespace cupule::pci
