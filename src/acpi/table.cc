#include "acpi/table.h"

#include <numeric>
#include <utility>

#include "acpi/little_endian.h"
#include "base/assert.h"

namespace cupule::acpi {

namespace {

constexpr std::size_t length_offset = 4;
constexpr std::size_t checksum_offset = 9;
constexpr std::size_t header_size = 36;
constexpr std::uint8_t system_io = 1;

}  // namespace

std::uint8_t checksum(std::span<const std::uint8_t> bytes) {
    const auto sum = std::accumulate(bytes.begin(), bytes.end(), 0U);
    return static_cast<std::uint8_t>((0x100 - (sum & 0xFF)) & 0xFF);
}

TableWriter::TableWriter(std::string_view signature, std::uint8_t revision) {
    CUPULE_ASSERT(signature.size() == 4);
    text(signature, 4);
    u32(0);  // length
    u8(revision);
    u8(0);  // checksum
    text(oem_id, 6);
    text("CUPULEPC", 8);
    u32(1);  // OEM revision
    text("CUPU", 4);
    u32(1);  // creator revision
    CUPULE_ASSERT(bytes_.size() == header_size);
}

TableWriter& TableWriter::zeros(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
}

TableWriter& TableWriter::append(std::span<const std::uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
}

TableWriter& TableWriter::text(std::string_view value, std::size_t width, char padding) {
    CUPULE_ASSERT(value.size() <= width);
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    bytes_.insert(bytes_.end(), width - value.size(), static_cast<std::uint8_t>(padding));
    return *this;
}

TableWriter& TableWriter::io_register(std::uint16_t port, unsigned bits, unsigned access_size) {
    return u8(system_io).u8(bits).u8(0).u8(access_size).u64(port);
}

std::vector<std::uint8_t> TableWriter::finish() && {
    CUPULE_ASSERT(bytes_.size() >= header_size);
    const std::size_t length = bytes_.size();
    for (std::size_t i = 0; i < 4; ++i) {
        bytes_[length_offset + i] = static_cast<std::uint8_t>(length >> (8 * i));
    }
    return std::move(*this).finish_with_checksum(checksum_offset, length);
}

std::vector<std::uint8_t> TableWriter::finish_with_checksum(std::size_t offset,
                                                            std::size_t length) && {
    CUPULE_ASSERT(offset < length && length <= bytes_.size());
    bytes_[offset] = 0;
    bytes_[offset] = checksum(std::span(bytes_).first(length));
    return std::move(bytes_);
}

TableWriter& TableWriter::number(std::uint64_t value, std::size_t size) {
    CUPULE_ASSERT(size == 8 || value < (std::uint64_t{1} << (8 * size)));
    append_little_endian(bytes_, value, size);
    return *this;
}

}  // namespace cupule::acpi
