#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "event/mutex.h"
#include "io/address_space.h"
#include "irq/interrupt.h"
#include "pci/bar.h"
#include "pci/config_space.h"
#include "snapshot/visitor.h"

// PCI Local Bus 3.0, chapter 6, and PCI Express Base 3.1, chapter 7.
//
// Models: the type 0 and type 1 headers, BARs of all kinds with sizing, moving and gating, the
// expansion ROM, INTx with its disable and status bits, capability lists, function level reset.
// Leaves out: BIST, resizable BARs, error signalling (its enable bits are stored only).
// Differs on purpose: a BAR at address 0, or one that ends at 4 GiB (which is what sizing leaves in
// the register), does not decode, so that sizing with decode enabled disturbs nobody.
namespace cupule::pci {

class Function;

enum class HeaderType : std::uint8_t { endpoint = 0, bridge = 1 };

/// What a function is. Fixed for its life; a guest can write none of it.
struct Attributes {
    std::uint16_t vendor_id = 0;
    std::uint16_t device_id = 0;
    std::uint16_t subsystem_vendor_id = 0;  // endpoints only
    std::uint16_t subsystem_id = 0;         // endpoints only
    std::uint8_t revision = 0;
    /// Base class, sub-class and interface: 0x060400.
    std::uint32_t class_code = 0;
    HeaderType header_type = HeaderType::endpoint;
    /// Has 4096 bytes of configuration space; to be given an express capability too.
    bool express = false;
    /// Wants an INTx pin; the machine's IntxRouter chooses the letter.
    bool uses_intx = false;
    /// Firmware leaves its bus mastering off, so that a driver turns it on.
    bool bus_mastering_off = false;
};

/// What a device hears from its function. Called with the function's monitor held.
class FunctionEvents {
  public:
    virtual ~FunctionEvents() = default;
    /// Before the guest's read of these bytes is answered: a register that is computed when read is
    /// refreshed here with `config().set`.
    virtual void config_reading(std::uint64_t /*offset*/, unsigned /*size*/) {}
    /// After the guest's write was stored, BARs have moved and capabilities have reacted.
    virtual void config_written(std::uint64_t /*offset*/, unsigned /*size*/) {}
    /// The guest has reset this function alone (FLR). The configuration space is back to its
    /// power-on state; the device resets everything else, without calling Function::reset.
    virtual void function_level_reset() {}
};

/// A piece of a function with behaviour of its own (MSI, MSI-X, power management). Registers itself
/// by Function::add_part. Called with the function's monitor held.
class FunctionPart {
  public:
    virtual ~FunctionPart() = default;
    /// The guest wrote these bytes of the configuration space.
    virtual void config_written(std::uint64_t /*offset*/, unsigned /*size*/) {}
    /// The configuration space is back to its power-on values; forget the rest.
    virtual void reset() {}
    /// Names the state that is not in the configuration space; when restoring, the configuration
    /// space has been restored before.
    virtual void visit(snapshot::Visitor& /*visitor*/) {}
    /// True while interrupts go as messages, which silences INTx.
    virtual bool replaces_intx() const { return false; }
    /// False while the function is in a power state in which it neither decodes its BARs nor
    /// masters the bus.
    virtual bool is_powered() const { return true; }
};

/// What a bus gives to a function that is put on it.
struct FunctionAttachment {
    io::AddressSpace* ports = nullptr;
    io::AddressSpace* memory = nullptr;
    /// The lock of the device: everything of the function runs with it held.
    event::Monitor* monitor = nullptr;
    /// For traces and messages: "00:03.0 virtio-blk".
    std::string name;
};

/// One PCI function. A device owns one and works without a bus (in its tests) as with one. All
/// calls with the device's monitor held; building before it is put on a bus. Not on a bus, BARs do
/// not decode (mappers are still told).
class Function {
  public:
    explicit Function(const Attributes& attributes);
    ~Function();
    Function(const Function&) = delete;
    Function& operator=(const Function&) = delete;

    // -- building -------------------------------------------------------------------------------

    const Attributes& attributes() const { return attributes_; }
    ConfigSpace& config() { return config_; }
    const ConfigSpace& config() const { return config_; }
    /// `events` outlives the last access; nullptr: nobody listens.
    void set_events(FunctionEvents* events) { events_ = events; }
    void add_part(FunctionPart& part) { parts_.push_back(&part); }
    /// A part whose power state the others depend on: it hears of a write before them.
    void add_power(FunctionPart& part) { parts_.insert(parts_.begin(), &part); }
    /// `bar` 0 to 5 (bridges 0 and 1), a 64-bit one takes two, or rom_bar.
    void add_bar(unsigned bar, const BarSpec& spec);

    // -- the bus --------------------------------------------------------------------------------

    void attach(FunctionAttachment attachment);
    const std::string& name() const { return attachment_.name; }
    /// Sets the header type's multi-function bit; survives resets.
    void set_multi_function(bool multi_function);
    /// Connects the INTx pin (1: INTA to 4: INTD) to `line`, which outlives the function's last
    /// event; survives resets.
    void connect_intx(std::uint8_t pin, irq::LevelLine* line);

    std::uint64_t read_config(std::uint64_t offset, unsigned size);
    void write_config(std::uint64_t offset, unsigned size, std::uint64_t value);
    /// As firmware does: puts a BAR at `address` (aligned to its size).
    void assign_bar(unsigned bar, std::uint64_t address);
    BarState bar(unsigned bar) const;

    // -- the device -----------------------------------------------------------------------------

    /// The device has left its slot: from now on configuration reads answer ones, writes are
    /// dropped, BARs do not decode and INTx is low, for good (surprise removal).
    void remove();
    bool removed() const { return removed_; }

    /// The INTx pin as a line: give it to whatever raises this function's interrupt.
    irq::LevelLine& intx() { return intx_; }
    /// What the device drives the pin to, before INTX_DISABLE and message modes gate it.
    bool intx_asserted() const { return intx_asserted_; }
    /// Whether the function may write memory (DMA and messages): the guest lets it, and it is in D0
    /// (PCI Bus Power Management Interface 1.2, 5.4.1).
    bool bus_master() const;
    /// Whether the function may drive its INTx pin: it is in D0 and no messages are on.
    /// INTX_DISABLE apart.
    bool may_assert_intx() const;
    /// Back to the power-on state: BARs at 0 and not decoding, INTx low, parts reset.
    void reset();
    /// The group "pci".
    void visit(snapshot::Visitor& visitor);
    /// The guest's FLR, called by the express capability.
    void function_level_reset();
    /// Brings BARs and INTx in line with the registers, after a change that is not a guest's write.
    void refresh();

  private:
    class IntxPin : public irq::LevelLine {
      public:
        explicit IntxPin(Function& function) : function_(function) {}
        void set_level(bool asserted) override { function_.set_intx(asserted); }

      private:
        Function& function_;
    };
    struct Bar {
        BarSpec spec{};
        std::optional<std::uint64_t> mapped_at;
        std::optional<io::RangeId> range;
    };

    void define_header();
    std::uint16_t bar_register(unsigned bar) const;
    std::uint64_t bar_address(unsigned bar) const;
    std::optional<std::uint64_t> bar_decodes_at(unsigned bar) const;
    bool is_powered() const;
    void update_bars();
    void map_bar(unsigned bar, std::optional<std::uint64_t> address);
    void set_intx(bool asserted);
    void update_intx();
    void reset_state();

    const Attributes attributes_;
    ConfigSpace config_;
    std::array<Bar, bar_count> bars_{};
    std::vector<FunctionPart*> parts_;
    FunctionEvents* events_ = nullptr;
    FunctionAttachment attachment_{};
    IntxPin intx_;
    irq::LevelLine* intx_line_ = nullptr;
    bool removed_ = false;
    /// What the device drives, before the gates.
    bool intx_asserted_ = false;
};

/// The mnemonic of a header register, or empty: depends on the offset alone.
std::string_view config_register_name(std::uint64_t offset);

}  // namespace cupule::pci
