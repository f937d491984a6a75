/// A system description table and the writer that builds one.
///
/// Document: ACPI Specification 6.5, section 5.2.6 (System Description Table Header).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cupule::acpi {

/// A finished table. `name` is its signature, for people; the bytes are what the guest sees.
struct Table {
    std::string name;
    std::vector<std::uint8_t> bytes;
};

inline constexpr std::string_view oem_id = "CUPULE";

/// The value that makes the sum of `bytes`, itself included as zero, a multiple of 256.
[[nodiscard]] std::uint8_t checksum(std::span<const std::uint8_t> bytes);

/// Builds a table front to back. Numbers are little endian.
class TableWriter {
  public:
    /// Starts a structure without the common header (RSDP, FACS, MP).
    TableWriter() = default;

    /// Starts a table with the 36-byte header; length and checksum are set by `finish`.
    TableWriter(std::string_view signature, std::uint8_t revision);

    TableWriter& u8(std::uint64_t value) { return number(value, 1); }
    TableWriter& u16(std::uint64_t value) { return number(value, 2); }
    TableWriter& u32(std::uint64_t value) { return number(value, 4); }
    TableWriter& u64(std::uint64_t value) { return number(value, 8); }
    TableWriter& zeros(std::size_t count);
    TableWriter& append(std::span<const std::uint8_t> bytes);

    /// Text in a field of `width` bytes, filled up with `padding`.
    TableWriter& text(std::string_view value, std::size_t width, char padding = ' ');

    /// A Generic Address Structure (5.2.3.2) of system I/O space; `access_size` 1 = byte, 2 =
    /// word, 3 = dword.
    TableWriter& io_register(std::uint16_t port, unsigned bits, unsigned access_size);

    /// A GAS that says "there is none".
    TableWriter& no_register() { return zeros(12); }

    [[nodiscard]] std::size_t size() const { return bytes_.size(); }

    /// Fills in length and checksum of a table with the common header.
    [[nodiscard]] std::vector<std::uint8_t> finish() &&;

    /// Gives back the bytes as they are, with a checksum over the first `length` at `offset`.
    [[nodiscard]] std::vector<std::uint8_t> finish_with_checksum(std::size_t offset,
                                                                 std::size_t length) &&;

    /// Gives back the bytes as they are.
    [[nodiscard]] std::vector<std::uint8_t> finish_plain() && { return std::move(bytes_); }

  private:
    TableWriter& number(std::uint64_t value, std::size_t size);

    std::vector<std::uint8_t> bytes_;
};

}  // namespace cupule::acpi
