#include "pci/config_mechanism.h"

#include "base/assert.h"
#include "base/bits.h"
#include "base/field.h"

namespace cupule::pci {
namespace {

constexpr std::uint64_t reset_control_offset = 1;  // port 0xCF9
constexpr std::uint64_t data_offset = 4;           // CONFIG_DATA
constexpr unsigned dword = 4;

/// CONFIG_ADDRESS (3.2.2.3.2).
struct ConfigAddress {
    static constexpr base::Bit<std::uint32_t, 31> enable{};
    static constexpr base::Field<std::uint32_t, 27, 24> extended_register{};
    static constexpr base::Field<std::uint32_t, 23, 8> routing_id{};
    static constexpr base::Field<std::uint32_t, 7, 2> register_dword{};

    static io::PciAddress bdf(std::uint32_t latch) {
        return io::PciAddress::from_routing_id(static_cast<std::uint16_t>(routing_id.of(latch)));
    }
    static std::uint64_t offset(std::uint32_t latch) {
        return (extended_register.of(latch) << 8) | (register_dword.of(latch) << 2);
    }
};

/// Where in ECAM (7.2.2, table 7-1).
struct EcamAddress {
    static constexpr base::Field<std::uint64_t, 27, 12> routing_id{};
    static constexpr base::Field<std::uint64_t, 11, 0> register_offset{};

    static io::PciAddress bdf(std::uint64_t offset) {
        return io::PciAddress::from_routing_id(static_cast<std::uint16_t>(routing_id.of(offset)));
    }
};

/// Whether an 8-byte access may be made as two of 4 bytes.
bool is_split(std::uint64_t offset, unsigned size) {
    return size == 2 * dword && base::is_aligned(offset, 2 * dword);
}

}  // namespace

ConfigMechanism::ConfigMechanism(io::PciConfigAccess& functions, io::IoHandler* reset_control,
                                 event::Monitor* reset_monitor)
    : functions_(functions), reset_control_(reset_control), reset_monitor_(reset_monitor) {
    CUPULE_ASSERT((reset_control == nullptr) == (reset_monitor == nullptr));
}

std::uint64_t ConfigMechanism::read(std::uint64_t offset, unsigned size) {
    if (offset == 0 && size == dword) {
        return address_.load(std::memory_order_relaxed);
    }
    if (offset >= data_offset) {
        return read_data(offset - data_offset, size);
    }
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        value |= read_byte(offset + i) << (8 * i);
    }
    return value;
}

void ConfigMechanism::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (offset == 0 && size == dword) {
        address_.store(static_cast<std::uint32_t>(value), std::memory_order_relaxed);
        return;
    }
    if (offset >= data_offset) {
        write_data(offset - data_offset, size, value);
        return;
    }
    for (unsigned i = 0; i < size; ++i) {
        write_byte(offset + i, (value >> (8 * i)) & 0xFF);
    }
}

std::uint64_t ConfigMechanism::read_byte(std::uint64_t offset) {
    if (offset >= data_offset) {
        return read_data(offset - data_offset, 1);
    }
    if (offset != reset_control_offset || reset_control_ == nullptr) {
        return base::ones(1);
    }
    event::MutexLock lock(*reset_monitor_);
    return reset_control_->read(0, 1) & base::ones(1);
}

void ConfigMechanism::write_byte(std::uint64_t offset, std::uint64_t value) {
    if (offset >= data_offset) {
        write_data(offset - data_offset, 1, value);
        return;
    }
    if (offset == reset_control_offset && reset_control_ != nullptr) {
        event::MutexLock lock(*reset_monitor_);
        reset_control_->write(0, 1, value);
    }
}

std::uint64_t ConfigMechanism::read_data(std::uint64_t lane, unsigned size) {
    const std::uint32_t latch = address_.load(std::memory_order_relaxed);
    if (!ConfigAddress::enable.of(latch)) {
        return base::ones(size);
    }
    return functions_.read_config(ConfigAddress::bdf(latch), ConfigAddress::offset(latch) + lane,
                                  size);
}

void ConfigMechanism::write_data(std::uint64_t lane, unsigned size, std::uint64_t value) {
    const std::uint32_t latch = address_.load(std::memory_order_relaxed);
    if (ConfigAddress::enable.of(latch)) {
        functions_.write_config(ConfigAddress::bdf(latch), ConfigAddress::offset(latch) + lane,
                                size, value);
    }
}

std::string_view ConfigMechanism::register_name(std::uint64_t offset) const {
    if (offset == reset_control_offset) {
        return "RST_CNT";
    }
    return offset < data_offset ? "CONFIG_ADDRESS" : "CONFIG_DATA";
}

void ConfigMechanism::reset() {
    address_.store(0, std::memory_order_relaxed);
}

void ConfigMechanism::visit(snapshot::Visitor& visitor) {
    std::uint32_t address = address_.load(std::memory_order_relaxed);
    visitor.field("config_address", address);
    address_.store(address, std::memory_order_relaxed);
}

std::uint64_t Ecam::read(std::uint64_t offset, unsigned size) {
    if (is_split(offset, size)) {
        return read(offset, dword) | (read(offset + dword, dword) << 32);
    }
    return functions_.read_config(EcamAddress::bdf(offset), EcamAddress::register_offset.of(offset),
                                  size);
}

void Ecam::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (is_split(offset, size)) {
        write(offset, dword, value & base::ones(dword));
        write(offset + dword, dword, value >> 32);
        return;
    }
    functions_.write_config(EcamAddress::bdf(offset), EcamAddress::register_offset.of(offset), size,
                            value);
}

std::string_view Ecam::register_name(std::uint64_t offset) const {
    return functions_.config_register_name(EcamAddress::register_offset.of(offset));
}

}  // namespace cupule::pci
