#include "backend/receive_steering.h"

#include <bit>

namespace cupule::backend {
namespace {

/// 32 bits of the key from bit `at` on, counted from its first byte's highest bit.
std::uint32_t key_window(const std::array<std::uint8_t, ReceiveSteering::key_bytes>& key,
                         std::size_t at) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 5; ++i) {
        const std::size_t byte = at / 8 + i;
        bits = bits << 8 | (byte < key.size() ? key[byte] : 0U);
    }
    return static_cast<std::uint32_t>(bits >> (8 - at % 8));
}

}  // namespace

void make_toeplitz_tables(const std::array<std::uint8_t, ReceiveSteering::key_bytes>& key,
                          ToeplitzTables& tables) {
    for (std::size_t place = 0; place < tables.size(); ++place) {
        auto& words = tables[place];
        words[0] = 0;
        for (std::size_t value = 1; value < words.size(); ++value) {
            // The lowest bit of `value` is the last of the byte; the rest is known already.
            const auto lowest = static_cast<std::size_t>(std::countr_zero(value));
            words[value] = words[value & (value - 1)] ^ key_window(key, 8 * place + 7 - lowest);
        }
    }
}

}  // namespace cupule::backend
