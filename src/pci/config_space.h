#pragma once

#include <array>
#include <bitset>
#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

#include "base/field.h"
#include "pci/config_registers.h"
#include "snapshot/visitor.h"

namespace cupule::pci {

/// The configuration space of one function: bytes with a rule for every bit. A bit belongs to the
/// guest (writable), to both (write 1 to clear), to the device (it changes at run time, the guest
/// only reads it) or to nobody (its value is fixed when the function is built). Built once with
/// `define` and `add_capability`, whose mistakes are ours and are asserted; accessed by the guest
/// with `read` and `write`, by the device with `get` and `set`. Called with the function's monitor
/// held.
class ConfigSpace {
  public:
    /// `size`: 256 or 4096 bytes that answer; ones beyond.
    explicit ConfigSpace(unsigned size);

    // -- building -------------------------------------------------------------------------------

    /// Defines a register's power-on value and rules; `device_owned` bits survive a restore.
    template <std::unsigned_integral T>
    void define(std::uint16_t offset, T value, base::WriteRule<T> rule = {}, T device_owned = 0) {
        for (unsigned i = 0; i < sizeof(T); ++i) {
            define_byte(static_cast<std::uint16_t>(offset + i),
                        {.initial = lane(value, i),
                         .writable = lane(rule.writable, i),
                         .write_1_to_clear = lane(rule.write_1_to_clear, i),
                         .device_owned = lane(device_owned, i)});
        }
    }

    /// Claims `length` bytes for device-specific registers so that no capability is put there.
    void reserve(std::uint16_t offset, unsigned length);

    /// Links a capability of `length` bytes (header included, at least 2) behind the others, at the
    /// first free dword from 0x40, or at `at`. Its registers are zero until defined. Returns its
    /// offset. (PCI Local Bus 3.0, 6.7)
    std::uint16_t add_capability(std::uint8_t id, unsigned length, std::uint16_t at = 0);
    /// The same with its contents behind the 2-byte header, and which bits of them are writable
    /// (none when empty, else as long as `body`).
    std::uint16_t add_capability(std::uint8_t id, std::span<const std::uint8_t> body,
                                 std::span<const std::uint8_t> writable);
    /// Links an extended capability of `length` bytes (header included, at least 4) at the first
    /// free place, or at `at`, behind those added before; the first is at 0x100. Needs a 4096-byte
    /// space. (PCI Express Base 3.1, 7.9)
    std::uint16_t add_extended_capability(std::uint16_t id, std::uint8_t version, unsigned length,
                                          std::uint16_t at = 0);
    /// Whether nobody has claimed any of these bytes.
    bool is_free(unsigned offset, unsigned length) const;

    // -- the guest ------------------------------------------------------------------------------

    /// Natural alignment and sizes 1, 2, 4; everything else is answered with ones.
    std::uint64_t read(std::uint64_t offset, unsigned size) const;
    /// False when the access is not natural and was dropped.
    bool write(std::uint64_t offset, unsigned size, std::uint64_t value);

    // -- the device -----------------------------------------------------------------------------

    template <std::unsigned_integral T>
    T get(std::uint16_t offset) const {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < sizeof(T); ++i) {
            value |= std::uint64_t{byte(offset + i).value} << (8 * i);
        }
        return static_cast<T>(value);
    }
    /// Changes a register whatever its rules. `offset` was defined.
    template <std::unsigned_integral T>
    void set(std::uint16_t offset, T value) {
        for (unsigned i = 0; i < sizeof(T); ++i) {
            defined_byte(offset + i).value = lane(value, i);
        }
    }

    unsigned size() const { return size_; }
    /// All registers back to their power-on values.
    void reset();
    /// One field, "config". Fixed bits of a restored space are corrected.
    void visit(snapshot::Visitor& visitor);

  private:
    struct ByteRule {
        std::uint8_t initial = 0;
        std::uint8_t writable = 0;
        std::uint8_t write_1_to_clear = 0;
        std::uint8_t device_owned = 0;
    };
    struct Byte {
        std::uint8_t value = 0;
        ByteRule rule{};
    };

    template <std::unsigned_integral T>
    static std::uint8_t lane(T value, unsigned index) {
        return static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * index));
    }
    Byte byte(unsigned offset) const;
    Byte& defined_byte(unsigned offset);
    void define_byte(std::uint16_t offset, ByteRule rule);

    const unsigned size_;
    /// As long as what is defined: 256 bytes, or 4096 with extended capabilities.
    std::vector<Byte> bytes_;
    std::bitset<express_config_size> reserved_;
    std::uint16_t last_capability_ = 0;
    std::uint16_t last_extended_ = 0;
};

}  // namespace cupule::pci
