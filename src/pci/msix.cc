#include "pci/msix.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "base/bits.h"
#include "base/field.h"

namespace cupule::pci {
namespace {

constexpr unsigned length = 12;
constexpr std::uint16_t control_offset = 2;  // Message Control
constexpr std::uint16_t table_register = 4;  // Table Offset / Table BIR
constexpr std::uint16_t pba_register = 8;    // PBA Offset / PBA BIR
constexpr unsigned dwords_per_entry = 4;
constexpr unsigned dword = 4;

/// Message Control (6.8.2.3).
struct Control {
    static constexpr base::Bit<std::uint16_t, 14> function_mask{};
    static constexpr base::Bit<std::uint16_t, 15> enable{};
};
/// Vector Control (6.8.2.9).
using VectorMask = base::Bit<std::uint32_t, 0>;
constexpr std::uint64_t address_writable = ~std::uint64_t{3};

bool is_natural(std::uint64_t offset, unsigned size) {
    return size <= 8 && base::is_aligned(offset, size);
}

}  // namespace

Msix::Msix(Function& function, irq::MessageSink& sink, const MsixLayout& layout)
    : function_(function),
      sink_(sink),
      offset_(function.config().add_capability(capability::msix, length, layout.at)),
      table_(*this),
      pba_(*this),
      entries_(layout.vectors),
      pending_((layout.vectors + 63) / 64) {
    CUPULE_ASSERT(layout.vectors >= 1 && layout.vectors <= vectors_max);
    CUPULE_ASSERT(layout.table_bar < rom_bar && layout.pba_bar < rom_bar);
    CUPULE_ASSERT(layout.table_offset % 8 == 0 && layout.pba_offset % 8 == 0);
    ConfigSpace& space = function_.config();
    space.define<std::uint16_t>(offset_ + control_offset,
                                static_cast<std::uint16_t>(layout.vectors - 1),
                                {.writable = Control::enable.mask | Control::function_mask.mask});
    space.define<std::uint32_t>(offset_ + table_register, layout.table_offset | layout.table_bar);
    space.define<std::uint32_t>(offset_ + pba_register, layout.pba_offset | layout.pba_bar);
    function_.add_part(*this);
}

bool Msix::enabled() const {
    const auto at = static_cast<std::uint16_t>(offset_ + control_offset);
    return Control::enable.of(function_.config().get<std::uint16_t>(at));
}

bool Msix::open() const {
    const auto at = static_cast<std::uint16_t>(offset_ + control_offset);
    const auto control = function_.config().get<std::uint16_t>(at);
    return Control::enable.of(control) && !Control::function_mask.of(control) &&
           function_.bus_master();
}

std::optional<irq::MsiMessage> Msix::message(const Entry& entry) const {
    if (!was_open_ || VectorMask::of(entry.control)) {
        return std::nullopt;
    }
    return irq::MsiMessage{.address = entry.address, .data = entry.data};
}

bool Msix::pending(unsigned vector) const {
    return vector < vectors() && ((pending_[vector / 64] >> (vector % 64)) & 1) != 0;
}

void Msix::set_pending(unsigned vector, bool pending) {
    std::uint64_t& word = pending_[vector / 64];
    const std::uint64_t bit = base::bit(vector % 64);
    word = pending ? word | bit : word & ~bit;
}

void Msix::notify(unsigned vector) {
    if (vector >= vectors() || !enabled()) {
        return;
    }
    if (const auto now = message(entries_[vector])) {
        sink_.send(*now);
        return;
    }
    set_pending(vector, true);
}

void Msix::update_vector(unsigned vector) {
    Entry& entry = entries_[vector];
    const auto now = message(entry);
    if (now != entry.message) {
        entry.message = now;
        if (observer_ != nullptr) {
            observer_->vector_changed(vector, now);
        }
    }
    if (now && pending(vector)) {
        set_pending(vector, false);
        sink_.send(*now);
    }
}

void Msix::update_vectors() {
    was_open_ = open();
    for (unsigned vector = 0; vector < vectors(); ++vector) {
        update_vector(vector);
    }
}

void Msix::set_observer(VectorObserver* observer) {
    observer_ = observer;
    for (unsigned vector = 0; observer_ != nullptr && vector < vectors(); ++vector) {
        if (entries_[vector].message) {
            observer_->vector_changed(vector, entries_[vector].message);
        }
    }
}

void Msix::config_written(std::uint64_t /*offset*/, unsigned /*size*/) {
    if (open() != was_open_) {
        update_vectors();
    }
}

void Msix::reset() {
    was_open_ = false;
    for (std::uint64_t& word : pending_) {
        word = 0;
    }
    for (unsigned vector = 0; vector < vectors(); ++vector) {
        Entry& entry = entries_[vector];
        entry = Entry{.message = entry.message};
        update_vector(vector);
    }
}

void Msix::visit(snapshot::Visitor& visitor) {
    visitor.begin("msix");
    for (unsigned vector = 0; vector < vectors(); ++vector) {
        Entry& entry = entries_[vector];
        visitor.begin(fmt::format("vector{}", vector));
        visitor.field("address", entry.address);
        visitor.field("data", entry.data);
        visitor.field("control", entry.control);
        visitor.end();
        entry.address &= address_writable;
        entry.control &= VectorMask::mask;
    }
    for (unsigned word = 0; word < pending_.size(); ++word) {
        visitor.field(fmt::format("pending{}", word), pending_[word]);
        pending_[word] &= base::mask(std::min(vectors() - word * 64, 64U));
    }
    visitor.end();
    if (visitor.restoring()) {
        update_vectors();
    }
}

std::uint32_t Msix::read_dword(std::uint64_t index) const {
    const Entry& entry = entries_[index / dwords_per_entry];
    const std::array<std::uint32_t, dwords_per_entry> words = {
        static_cast<std::uint32_t>(entry.address), static_cast<std::uint32_t>(entry.address >> 32),
        entry.data, entry.control};
    return words[index % dwords_per_entry];
}

void Msix::write_dword(std::uint64_t index, std::uint32_t value) {
    Entry& entry = entries_[index / dwords_per_entry];
    switch (index % dwords_per_entry) {
        case 0:
            entry.address = base::write_lane(entry.address, 0, dword, value) & address_writable;
            break;
        case 1:
            entry.address = base::write_lane(entry.address, dword, dword, value);
            break;
        case 2:
            entry.data = value;
            break;
        default:
            entry.control = value & VectorMask::mask;
            break;
    }
}

std::uint64_t Msix::Table::read(std::uint64_t offset, unsigned size) {
    if (!is_natural(offset, size)) {
        return base::ones(size);
    }
    const std::uint64_t index = offset / dword;
    std::uint64_t value = msix_.read_dword(index);
    if (size == 8) {
        return value | (std::uint64_t{msix_.read_dword(index + 1)} << 32);
    }
    return base::read_lane(value, offset % dword, size);
}

void Msix::Table::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (!is_natural(offset, size) || size < dword) {
        return;
    }
    const std::uint64_t index = offset / dword;
    msix_.write_dword(index, static_cast<std::uint32_t>(value));
    if (size == 8) {
        msix_.write_dword(index + 1, static_cast<std::uint32_t>(value >> 32));
    }
    msix_.update_vector(static_cast<unsigned>(index / dwords_per_entry));
}

std::string_view Msix::Table::register_name(std::uint64_t offset) const {
    static constexpr std::array<std::string_view, dwords_per_entry> names = {
        "MSG_ADDR", "MSG_UPPER_ADDR", "MSG_DATA", "VECTOR_CTRL"};
    return names[offset / dword % dwords_per_entry];
}

std::uint64_t Msix::Pba::read(std::uint64_t offset, unsigned size) {
    if (!is_natural(offset, size)) {
        return base::ones(size);
    }
    return base::read_lane(msix_.pending_[offset / 8], offset % 8, size);
}

}  // namespace cupule::pci
