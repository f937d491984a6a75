#include "pci/config_space.h"

#include <algorithm>

#include "base/assert.h"
#include "base/bits.h"

namespace cupule::pci {
namespace {

bool is_natural(std::uint64_t offset, unsigned size) {
    return (size == 1 || size == 2 || size == 4) && base::is_aligned(offset, size);
}

constexpr unsigned capability_header_size = 2;
constexpr unsigned extended_header_size = 4;

}  // namespace

ConfigSpace::ConfigSpace(unsigned size) : size_(size), bytes_(conventional_config_size) {
    CUPULE_ASSERT(size == conventional_config_size || size == express_config_size);
    reserve(0, config::header_end);
}

ConfigSpace::Byte ConfigSpace::byte(unsigned offset) const {
    return offset < bytes_.size() ? bytes_[offset] : Byte{};
}

ConfigSpace::Byte& ConfigSpace::defined_byte(unsigned offset) {
    CUPULE_ASSERT(offset < bytes_.size());
    return bytes_[offset];
}

void ConfigSpace::define_byte(std::uint16_t offset, ByteRule rule) {
    defined_byte(offset) = {.value = rule.initial, .rule = rule};
}

bool ConfigSpace::is_free(unsigned offset, unsigned length) const {
    for (unsigned i = offset; i < offset + length; ++i) {
        if (i >= size_ || reserved_[i]) {
            return false;
        }
    }
    return true;
}

void ConfigSpace::reserve(std::uint16_t offset, unsigned length) {
    CUPULE_ASSERT(is_free(offset, length));
    for (unsigned i = offset; i < offset + length; ++i) {
        reserved_.set(i);
    }
}

std::uint16_t ConfigSpace::add_capability(std::uint8_t id, unsigned length, std::uint16_t at) {
    CUPULE_ASSERT(length >= capability_header_size && at % 4 == 0);
    unsigned offset = at;
    if (at == 0) {
        offset = config::header_end;
        while (offset < config::extended && !is_free(offset, length)) {
            offset += 4;
        }
    }
    CUPULE_ASSERT(offset >= config::header_end && offset + length <= config::extended);
    const auto place = static_cast<std::uint16_t>(offset);
    reserve(place, length);
    define<std::uint8_t>(place, id);
    define<std::uint8_t>(static_cast<std::uint16_t>(place + 1), 0);
    const std::uint16_t link = last_capability_ == 0
                                   ? config::capabilities
                                   : static_cast<std::uint16_t>(last_capability_ + 1);
    define<std::uint8_t>(link, static_cast<std::uint8_t>(place));
    Byte& status = defined_byte(config::status);
    status.rule.initial |= Status::capabilities_list.mask;
    status.value |= Status::capabilities_list.mask;
    last_capability_ = place;
    return place;
}

std::uint16_t ConfigSpace::add_capability(std::uint8_t id, std::span<const std::uint8_t> body,
                                          std::span<const std::uint8_t> writable) {
    CUPULE_ASSERT(writable.empty() || writable.size() == body.size());
    const auto length = static_cast<unsigned>(body.size()) + capability_header_size;
    const std::uint16_t offset = add_capability(id, length);
    for (unsigned i = 0; i < body.size(); ++i) {
        const std::uint8_t mask = writable.empty() ? std::uint8_t{0} : writable[i];
        define_byte(static_cast<std::uint16_t>(offset + capability_header_size + i),
                    {.initial = body[i], .writable = mask});
    }
    return offset;
}

std::uint16_t ConfigSpace::add_extended_capability(std::uint16_t id, std::uint8_t version,
                                                   unsigned length, std::uint16_t at) {
    CUPULE_ASSERT(size_ == express_config_size && length >= extended_header_size && version < 16);
    CUPULE_ASSERT(at == 0 || at == config::extended || at > last_extended_);
    bytes_.resize(express_config_size);
    unsigned offset = at == 0 ? config::extended : at;
    while (at == 0 && offset < size_ && !is_free(offset, length)) {
        offset += 4;
    }
    // Software looks for the first one at 0x100 and nowhere else.
    CUPULE_ASSERT(offset + length <= size_);
    CUPULE_ASSERT(last_extended_ != 0 || offset == config::extended);
    const auto place = static_cast<std::uint16_t>(offset);
    reserve(place, length);
    define<std::uint32_t>(place, id | (std::uint32_t{version} << 16));
    if (last_extended_ != 0) {
        const auto header = get<std::uint32_t>(last_extended_);
        define<std::uint32_t>(last_extended_, header | (std::uint32_t{place} << 20));
    }
    last_extended_ = place;
    return place;
}

std::uint64_t ConfigSpace::read(std::uint64_t offset, unsigned size) const {
    if (!is_natural(offset, size) || offset >= size_) {
        return base::ones(size);
    }
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        value |= std::uint64_t{byte(static_cast<unsigned>(offset) + i).value} << (8 * i);
    }
    return value;
}

bool ConfigSpace::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (!is_natural(offset, size) || offset >= bytes_.size()) {
        return false;
    }
    for (unsigned i = 0; i < size; ++i) {
        Byte& target = bytes_[offset + i];
        const base::WriteRule<std::uint8_t> rule{.writable = target.rule.writable,
                                                 .write_1_to_clear = target.rule.write_1_to_clear};
        target.value = rule.apply(target.value, lane(value, i));
    }
    return true;
}

void ConfigSpace::reset() {
    for (Byte& each : bytes_) {
        each.value = each.rule.initial;
    }
}

void ConfigSpace::visit(snapshot::Visitor& visitor) {
    std::vector<std::uint8_t> values(bytes_.size());
    std::ranges::transform(bytes_, values.begin(), &Byte::value);
    visitor.bytes("config", values);
    if (!visitor.restoring()) {
        return;
    }
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
        const ByteRule& rule = bytes_[i].rule;
        const auto variable =
            static_cast<std::uint8_t>(rule.writable | rule.write_1_to_clear | rule.device_owned);
        bytes_[i].value = static_cast<std::uint8_t>(
            (values[i] & variable) | (rule.initial & static_cast<std::uint8_t>(~variable)));
    }
}

}  // namespace cupule::pci
