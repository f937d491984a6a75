#include "passthrough/passed_config.h"

#include "base/bits.h"

namespace cupule::passthrough {
namespace {

constexpr unsigned capability_header = 2;
constexpr unsigned extended_header = 4;

std::uint8_t lane(std::uint64_t value, unsigned index) {
    return static_cast<std::uint8_t>(value >> (8 * index));
}

bool is_natural(std::uint64_t offset, unsigned size) {
    return (size == 1 || size == 2 || size == 4) && base::is_aligned(offset, size);
}

}  // namespace

PassedConfig::PassedConfig(pci::Function& function, HostDevice& host)
    : function_(function), host_(host), rules_(function.config().size()) {}

void PassedConfig::define(std::uint16_t offset, const Rule& rule, std::uint8_t stored,
                          std::uint8_t hidden) {
    rules_[offset] = rule;
    const auto value = static_cast<std::uint8_t>(host_.read_config(offset, 1) & ~hidden);
    // What is passed is stored too: the hook after a write finds the guest's value there.
    function_.config().define<std::uint8_t>(
        offset, value, {.writable = static_cast<std::uint8_t>(stored | rule.passed)}, rule.live);
}

void PassedConfig::add_field(std::uint16_t offset, const FieldPolicy& field) {
    for (unsigned i = 0; i < field.size; ++i) {
        const Rule rule{.live = lane(field.live | field.passed, i),
                        .passed = lane(field.passed, i),
                        .write_1_to_clear = lane(field.write_1_to_clear, i)};
        define(static_cast<std::uint16_t>(offset + i), rule, lane(field.stored, i),
               lane(field.hidden, i));
    }
}

void PassedConfig::add_header() {
    for (const FieldPolicy& field : header_policy()) {
        for (unsigned i = 0; i < field.size; ++i) {
            rules_[field.offset + i].live = lane(field.live, i);
        }
    }
}

void PassedConfig::add(const ConfigCapability& capability, const CapabilityPolicy& policy) {
    const bool all = policy.treatment == Treatment::passed;
    const Rule rule = all ? Rule{.live = 0xFF, .passed = 0xFF} : Rule{};
    const unsigned header = capability.extended ? extended_header : capability_header;
    for (unsigned i = header; i < capability.length; ++i) {
        define(static_cast<std::uint16_t>(capability.offset + i), rule, 0, 0);
    }
    for (const FieldPolicy& field : policy.fields) {
        if (field.offset + field.size <= capability.length) {
            add_field(static_cast<std::uint16_t>(capability.offset + field.offset), field);
        }
    }
}

void PassedConfig::refresh(std::uint64_t offset, unsigned size) {
    if (!is_natural(offset, size) || !base::contains(0, rules_.size(), offset, size)) {
        return;
    }
    const auto first = static_cast<std::uint16_t>(offset);
    std::uint8_t any = 0;
    for (unsigned i = 0; i < size; ++i) {
        any |= rules_[first + i].live;
    }
    if (any == 0) {
        return;
    }
    const std::uint64_t now = host_.read_config(offset, size);
    pci::ConfigSpace& space = function_.config();
    for (unsigned i = 0; i < size; ++i) {
        const std::uint8_t live = rules_[first + i].live;
        if (live != 0) {
            const auto at = static_cast<std::uint16_t>(first + i);
            const auto kept = static_cast<std::uint8_t>(space.get<std::uint8_t>(at) & ~live);
            space.set<std::uint8_t>(at, static_cast<std::uint8_t>(kept | (lane(now, i) & live)));
        }
    }
}

void PassedConfig::forward(std::uint64_t offset, unsigned size) {
    if (!is_natural(offset, size) || !base::contains(0, rules_.size(), offset, size)) {
        return;
    }
    const auto first = static_cast<std::uint16_t>(offset);
    std::uint32_t passed = 0;
    std::uint32_t cleared = 0;
    std::uint32_t guest = 0;
    for (unsigned i = 0; i < size; ++i) {
        const Rule& rule = rules_[first + i];
        const auto at = static_cast<std::uint16_t>(first + i);
        passed |= std::uint32_t{rule.passed} << (8 * i);
        cleared |= std::uint32_t{rule.write_1_to_clear} << (8 * i);
        guest |= std::uint32_t{function_.config().get<std::uint8_t>(at)} << (8 * i);
    }
    if (passed == 0) {
        return;
    }
    std::uint32_t value = guest & passed;
    if (const auto all = static_cast<std::uint32_t>(base::ones(size)); passed != all) {
        const auto now = static_cast<std::uint32_t>(host_.read_config(offset, size));
        value |= now & ~passed & ~cleared & all;
    }
    host_.write_config(offset, size, value);
}

}  // namespace cupule::passthrough
