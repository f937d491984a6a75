#include "backend/rate_text.h"

#include <optional>

#include "base/text.h"

namespace cupule::backend {
namespace {

/// A number with K, M or G (of 1024) behind it.
std::optional<std::uint64_t> to_quantity(std::string_view text) {
    constexpr std::string_view units = "KMG";
    unsigned shift = 0;
    if (const auto unit = text.empty() ? units.npos : units.find(text.back()); unit != units.npos) {
        shift = 10 * (static_cast<unsigned>(unit) + 1);
        text.remove_suffix(1);
    }
    const auto value = base::to_number<std::uint64_t>(text);
    return value && *value <= ~std::uint64_t{0} >> shift ? std::optional(*value << shift)
                                                         : std::nullopt;
}

}  // namespace

base::Result<void> parse_rate(std::string_view name, std::string_view text, std::uint64_t& rate,
                              std::uint64_t& burst) {
    const auto slash = text.find('/');
    const auto first = to_quantity(text.substr(0, slash));
    const auto second =
        slash == text.npos ? std::optional<std::uint64_t>(0) : to_quantity(text.substr(slash + 1));
    if (!first || !second || *first == 0 || (slash != text.npos && *second == 0)) {
        return base::fail("{}={}: wants PER_SECOND[/BURST], numbers above 0 with K, M or G", name,
                          text);
    }
    rate = *first;
    burst = *second;
    return {};
}

}  // namespace cupule::backend
