#include "steering_model.h"

#include <algorithm>
#include <array>
#include <memory>

#include "oracle.h"

namespace cupule::testing {
namespace {

using backend::ReceiveSteering;
namespace hash_type = backend::hash_type;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t ip_at = 14;
constexpr std::size_t ipv4_bytes = 20;
constexpr std::size_t ipv6_bytes = 40;
constexpr std::uint8_t tcp = 6;
constexpr std::uint8_t udp = 17;
constexpr std::array<std::uint8_t, 3> protocols{tcp, udp, 1};

/// What of a frame of `random_packet` is hashed; empty: nothing.
Bytes hash_input(std::uint32_t types, std::span<const std::uint8_t> frame) {
    const auto ip = frame.subspan(ip_at);
    const bool ipv4 = frame[12] == 0x08;
    if (!ipv4 && frame[12] != 0x86) {
        return {};
    }
    const std::uint8_t protocol = ip[ipv4 ? 9 : 6];
    const auto addresses = ipv4 ? ip.subspan(12, 8) : ip.subspan(8, 32);
    const std::uint32_t with_ports = protocol == tcp ? (ipv4 ? hash_type::tcpv4 : hash_type::tcpv6)
                                     : protocol == udp
                                         ? (ipv4 ? hash_type::udpv4 : hash_type::udpv6)
                                         : 0;
    Bytes input;
    if ((types & with_ports) != 0) {
        const auto ports = ip.subspan(ipv4 ? ipv4_bytes : ipv6_bytes, 4);
        input.assign(addresses.begin(), addresses.end());
        input.insert(input.end(), ports.begin(), ports.end());
    } else if ((types & (ipv4 ? hash_type::ipv4 : hash_type::ipv6)) != 0) {
        input.assign(addresses.begin(), addresses.end());
    }
    return input;
}

std::uint32_t hash_by_bits(const ReceiveSteering& rules, const Bytes& input) {
    const auto key_bit = [&](std::size_t at) {
        return at < 8 * rules.key.size() ? rules.key[at / 8] >> (7 - at % 8) & 1U : 0U;
    };
    std::uint32_t hash = 0;
    for (std::size_t bit = 0; bit < 8 * input.size(); ++bit) {
        for (std::size_t i = 0; (input[bit / 8] >> (7 - bit % 8) & 1) != 0 && i < 32; ++i) {
            hash ^= key_bit(bit + i) << (31 - i);
        }
    }
    return hash;
}

std::uint32_t hash_by_tables(const ReceiveSteering& rules, const Bytes& input) {
    const auto tables = std::make_unique<backend::ToeplitzTables>();
    backend::make_toeplitz_tables(rules.key, *tables);
    std::uint32_t hash = 0;
    for (std::size_t i = 0; i < input.size(); ++i) {
        hash ^= (*tables)[i][input[i]];
    }
    return hash;
}

template <class Hash>
std::size_t pair_by(const ReceiveSteering& rules, std::span<const std::uint8_t> frame, Hash hash) {
    const Bytes input = hash_input(rules.hash_types, frame);
    return input.empty() ? rules.unclassified
                         : rules.table[hash(rules, input) & (rules.table.size() - 1)];
}

}  // namespace

ReceiveSteering random_rules(Guest& guest, unsigned pairs) {
    ReceiveSteering rules{.hash_types = guest.random(hash_type::all + 1),
                          .unclassified = static_cast<std::uint16_t>(guest.random(pairs))};
    std::ranges::generate(rules.key, [&] { return static_cast<std::uint8_t>(guest.random(256)); });
    rules.table.resize(std::size_t{1} << guest.random(8));
    static_assert(ReceiveSteering::table_length_max == 1 << 7);
    for (std::uint16_t& pair : rules.table) {
        pair = static_cast<std::uint16_t>(guest.random(pairs));
    }
    return rules;
}

std::vector<std::byte> rules_command(const ReceiveSteering& rules, unsigned pairs) {
    std::vector<std::byte> bytes;
    append(bytes, bytes_of(rules.hash_types));
    append(bytes, bytes_of(static_cast<std::uint16_t>(rules.table.size() - 1)));
    append(bytes, bytes_of(rules.unclassified));
    append(bytes, std::as_bytes(std::span(rules.table)));
    append(bytes, bytes_of(static_cast<std::uint16_t>(pairs)));
    append(bytes, bytes_of(static_cast<std::uint8_t>(rules.key.size())));
    append(bytes, std::as_bytes(std::span(rules.key)));
    return bytes;
}

Bytes random_packet(Guest& guest, const device::MacAddress& to) {
    Bytes frame(ip_at + ipv6_bytes + 20);
    std::ranges::generate(frame, [&] { return static_cast<std::uint8_t>(guest.random(256)); });
    std::ranges::copy(to, frame.begin());
    const std::uint8_t protocol = protocols[guest.random(protocols.size())];
    const std::span<std::uint8_t> ip = std::span(frame).subspan(ip_at);
    switch (guest.random(3)) {
        case 0:
            frame[12] = 0x08;
            frame[13] = 0x00;
            ip[0] = 0x45;
            ip[6] = ip[7] = 0;  // no fragment
            ip[9] = protocol;
            break;
        case 1:
            frame[12] = 0x86;
            frame[13] = 0xDD;
            ip[0] = 0x60;
            ip[6] = protocol;
            break;
        default:
            frame[12] = 0x88;
            frame[13] = 0xB5;
    }
    return frame;
}

std::size_t pair_by_definition(const ReceiveSteering& rules, std::span<const std::uint8_t> frame) {
    return pair_by(rules, frame, hash_by_bits);
}

std::size_t pair_by_tables(const ReceiveSteering& rules, std::span<const std::uint8_t> frame) {
    return pair_by(rules, frame, hash_by_tables);
}

}  // namespace cupule::testing
