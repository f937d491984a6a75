#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "irq/interrupt.h"
#include "pci/function.h"
#include "pci/vector_observer.h"

namespace cupule::pci {

/// The forms an MSI capability can have (PCI Local Bus 3.0, 6.8.1).
struct MsiLayout {
    unsigned vectors = 1;  // a power of two from 1 to 32
    bool is_64_bit = true;
    bool per_vector_masking = true;
    /// Where the capability stands; 0: the first free place.
    std::uint16_t at = 0;
};

/// The MSI capability (PCI Local Bus 3.0, 6.8.1): up to 32 vectors. A vector that is masked, or
/// whose function may not write memory (bus master off), is remembered in the pending bits and sent
/// when it may be.
class Msi : public FunctionPart {
  public:
    static constexpr unsigned vectors_max = 32;

    /// 64-bit address and per-vector masking. `vectors`: a power of two from 1 to 32. `sink`
    /// outlives this.
    Msi(Function& function, irq::MessageSink& sink, unsigned vectors)
        : Msi(function, sink, MsiLayout{.vectors = vectors}) {}
    Msi(Function& function, irq::MessageSink& sink, const MsiLayout& layout);

    /// Bytes a capability of this form takes, header included.
    static unsigned length(const MsiLayout& layout);

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
    unsigned data_offset() const;
    std::uint32_t masked() const;
    std::uint16_t at(unsigned delta) const { return static_cast<std::uint16_t>(offset_ + delta); }

    Function& function_;
    irq::MessageSink& sink_;
    const MsiLayout layout_;
    const std::uint16_t offset_;
    VectorObserver* observer_ = nullptr;
    void publish_pending();

    /// Vectors that wait, whether or not the capability shows them.
    std::uint32_t pending_ = 0;
    /// What the observer knows.
    std::array<std::optional<irq::MsiMessage>, vectors_max> messages_{};
};

}  // namespace cupule::pci
