#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "io/io_handler.h"
#include "irq/interrupt.h"
#include "pci/function.h"
#include "pci/vector_observer.h"

namespace cupule::pci {

/// Where a function keeps its MSI-X structures: BAR numbers, and offsets in them (multiples of 8).
struct MsixLayout {
    unsigned vectors = 1;  // 1 to 2048
    unsigned table_bar = 0;
    std::uint32_t table_offset = 0;
    unsigned pba_bar = 0;
    std::uint32_t pba_offset = 0;
    /// Where the capability stands; 0: the first free place.
    std::uint16_t at = 0;
};

/// The MSI-X capability with its table and pending bit array (PCI Local Bus 3.0, 6.8.2). A vector
/// that is masked (itself, by the function mask, or as bus mastering is off) becomes pending and is
/// sent when it may be. The owner puts `table()` and `pba()` into its BARs where the layout says
/// (BarRegions). Table reads of any natural size answer, writes of 4 and 8 bytes count, others are
/// dropped; the PBA is read-only.
class Msix : public FunctionPart {
  public:
    static constexpr unsigned vectors_max = 2048;

    /// `sink` outlives this.
    Msix(Function& function, irq::MessageSink& sink, const MsixLayout& layout);

    static constexpr std::uint64_t table_size(unsigned vectors) { return 16ULL * vectors; }
    static constexpr std::uint64_t pba_size(unsigned vectors) { return (vectors + 63) / 64 * 8ULL; }
    io::IoHandler& table() { return table_; }
    io::IoHandler& pba() { return pba_; }

    std::uint16_t offset() const { return offset_; }
    unsigned vectors() const { return static_cast<unsigned>(entries_.size()); }
    bool enabled() const;
    /// Sends a vector, or makes it pending. Nothing happens while MSI-X is disabled or when there
    /// is no such vector.
    void notify(unsigned vector);
    bool pending(unsigned vector) const;
    /// `observer` outlives this; told at once of vectors that can send now. nullptr: nobody.
    void set_observer(VectorObserver* observer);

    void config_written(std::uint64_t offset, unsigned size) override;
    void reset() override;
    void visit(snapshot::Visitor& visitor) override;
    bool replaces_intx() const override { return enabled(); }

  private:
    class Table : public io::IoHandler {
      public:
        explicit Table(Msix& msix) : msix_(msix) {}
        std::uint64_t read(std::uint64_t offset, unsigned size) override;
        void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
        std::string_view register_name(std::uint64_t offset) const override;

      private:
        Msix& msix_;
    };
    class Pba : public io::IoHandler {
      public:
        explicit Pba(const Msix& msix) : msix_(msix) {}
        std::uint64_t read(std::uint64_t offset, unsigned size) override;
        void write(std::uint64_t, unsigned, std::uint64_t) override {}
        std::string_view register_name(std::uint64_t) const override { return "PBA"; }

      private:
        const Msix& msix_;
    };
    struct Entry {
        std::uint64_t address = 0;
        std::uint32_t data = 0;
        std::uint32_t control = 1;  // masked
        /// What the observer knows; derived.
        std::optional<irq::MsiMessage> message{};
    };

    std::uint32_t read_dword(std::uint64_t index) const;
    void write_dword(std::uint64_t index, std::uint32_t value);
    bool open() const;
    std::optional<irq::MsiMessage> message(const Entry& entry) const;
    void set_pending(unsigned vector, bool pending);
    void update_vector(unsigned vector);
    void update_vectors();

    Function& function_;
    irq::MessageSink& sink_;
    const std::uint16_t offset_;
    Table table_;
    Pba pba_;
    VectorObserver* observer_ = nullptr;
    std::vector<Entry> entries_;
    std::vector<std::uint64_t> pending_;
    /// What `open()` was when the vectors were last brought in line with it.
    bool was_open_ = false;
};

}  // namespace cupule::pci
