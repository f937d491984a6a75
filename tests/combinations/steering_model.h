#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/receive_steering.h"
#include "device/network/net_filter.h"
#include "guest.h"

// Receive steering (Virtio 1.3, 5.1.6.4.3 and 5.1.6.5.7) as its two sides have it.
namespace cupule::testing {

/// Rules for a card with so many pairs: all of it at random.
backend::ReceiveSteering random_rules(Guest& guest, unsigned pairs);
/// struct virtio_net_rss_config.
std::vector<std::byte> rules_command(const backend::ReceiveSteering& rules, unsigned pairs);

/// A frame of Ethernet with IPv4, IPv6 or neither, TCP, UDP or neither.
std::vector<std::uint8_t> random_packet(Guest& guest, const device::MacAddress& to);

/// The pair that a frame comes in by, from the definition of the hash: a bit of the input at a
/// time.
std::size_t pair_by_definition(const backend::ReceiveSteering& rules,
                               std::span<const std::uint8_t> frame);
/// The same by the tables that back ends use.
std::size_t pair_by_tables(const backend::ReceiveSteering& rules,
                           std::span<const std::uint8_t> frame);

}  // namespace cupule::testing
