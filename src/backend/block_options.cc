#include <array>
#include <charconv>
#include <optional>

#include "backend/block_store.h"
#include "base/bits.h"

namespace cupule::backend {
namespace {

constexpr std::uint32_t logical_min = 512;
constexpr std::uint32_t logical_max = 4096;
constexpr std::uint32_t physical_max = 64 << 10;

struct Word {
    std::string_view name;
    void (*apply)(BlockOptions&);
};

constexpr auto words = std::to_array<Word>({
    {"ro", [](BlockOptions& options) { options.read_only = true; }},
    {"writeback", [](BlockOptions& options) { options.write_through = false; }},
    {"writethru", [](BlockOptions& options) { options.write_through = true; }},
    {"discard", [](BlockOptions& options) { options.discard = true; }},
});

std::optional<std::uint32_t> to_number(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

base::Result<void> set_sectors(BlockOptions& options, std::string_view text) {
    const auto slash = text.find('/');
    const auto logical = to_number(text.substr(0, slash));
    const auto physical = slash == text.npos ? logical : to_number(text.substr(slash + 1));
    const bool good = logical && physical && base::is_power_of_two(*logical) &&
                      base::is_power_of_two(*physical) && *logical >= logical_min &&
                      *logical <= logical_max && *physical >= *logical && *physical <= physical_max;
    if (!good) {
        return base::fail(
            "sectorsize={}: wants LOGICAL[/PHYSICAL], powers of two, 512 to 4096 and up to 65536",
            text);
    }
    options.logical_sector = *logical;
    options.physical_sector = *physical;
    return {};
}

base::Result<void> set_option(BlockOptions& options, std::string_view text) {
    constexpr std::string_view sectors = "sectorsize=";
    if (text.starts_with(sectors)) {
        return set_sectors(options, text.substr(sectors.size()));
    }
    for (const Word& word : words) {
        if (word.name == text) {
            word.apply(options);
            return {};
        }
    }
    return base::fail(
        "unknown disk option '{}'; there are ro, writeback, writethru, discard and "
        "sectorsize=LOGICAL[/PHYSICAL]",
        text);
}

}  // namespace

base::Result<BlockOptions> parse_block_options(std::string_view text) {
    BlockOptions options;
    const auto comma = text.find(',');
    options.path = text.substr(0, comma);
    if (options.path.empty()) {
        return base::fail("a disk needs the path of its image: PATH[,OPTION...]");
    }
    while (text.find(',') != text.npos) {
        text.remove_prefix(text.find(',') + 1);
        CUPULE_TRY(set_option(options, text.substr(0, text.find(','))));
    }
    return options;
}

}  // namespace cupule::backend
