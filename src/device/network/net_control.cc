#include "device/network/net_control.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "device/network/net_config.h"
#include "device/network/virtio_net_registers.h"

namespace cupule::device {
namespace {

/// A command is `class, command, data, ack` (5.1.6.5).
struct CommandHeader {
    std::uint8_t group;
    std::uint8_t command;
};

constexpr std::uint16_t vlan_max = 4095;

/// A count and as many addresses. False when they are cut short; `all` when they are too many.
bool read_table(virtio::ChainReader& reader, std::vector<MacAddress>& table, bool& all) {
    const auto count = reader.value<std::uint32_t>();
    if (!count || std::uint64_t{*count} * sizeof(MacAddress) > reader.remaining()) {
        return false;
    }
    table.clear();
    all = *count > NetFilter::addresses_max;
    if (all) {
        return reader.skip(std::uint64_t{*count} * sizeof(MacAddress));
    }
    for (std::uint32_t i = 0; i < *count; ++i) {
        table.push_back(reader.value<MacAddress>().value_or(MacAddress{}));
    }
    return true;
}

/// Bits of struct virtio_net_rss_config (5.1.6.5.7). Nothing when it is cut short, or asks for what
/// there is not.
std::optional<backend::ReceiveSteering> read_steering(virtio::ChainReader& reader,
                                                      std::size_t pairs) {
    using backend::ReceiveSteering;
    const auto types = reader.value<std::uint32_t>();
    const auto mask = reader.value<std::uint16_t>();
    const auto unclassified = reader.value<std::uint16_t>();
    if (!types || !mask || !unclassified || (*types & ~backend::hash_type::all) != 0 ||
        *mask >= ReceiveSteering::table_length_max || (*mask & (*mask + 1)) != 0 ||
        *unclassified >= pairs) {
        return std::nullopt;
    }
    ReceiveSteering rules{.hash_types = *types, .unclassified = *unclassified};
    rules.table.resize(std::size_t{*mask} + 1);
    for (std::uint16_t& pair : rules.table) {
        // Bits 1 to 16 of a receive queue's index: the pair's number. Bit 15 is reserved and 0.
        const auto queue = reader.value<std::uint16_t>();
        if (!queue || *queue >= pairs) {
            return std::nullopt;
        }
        pair = *queue;
    }
    const auto transmit_queues = reader.value<std::uint16_t>();
    const auto key_bytes = reader.value<std::uint8_t>();
    if (!transmit_queues || *transmit_queues < 1 || *transmit_queues > pairs || !key_bytes ||
        *key_bytes > rules.key.size() || (*key_bytes == 0 && *types != 0) ||
        reader.remaining() < *key_bytes) {
        return std::nullopt;
    }
    reader.read(std::as_writable_bytes(std::span(rules.key).first(*key_bytes)));
    return rules;
}

}  // namespace

void NetControl::begin(std::uint64_t negotiated) {
    negotiated_ = negotiated;
    filter_ = NetFilter{};
    filter_.own = net::unpack(mac_);
    filter_.by_vlan = this->negotiated(net::feature::ctrl_vlan);
    attached_pairs_ = 1;
    steering_ = nullptr;
    offloads_ = negotiated & net::feature::guest_offloads;
}

void NetControl::apply() {
    apply_pairs();
    if (steering_) {
        pairs_.front()->set_steering(steering_);
    }
    pairs_.front()->set_receive_offloads(net::guest_offloads(offloads_));
    if (negotiated(net::feature::ctrl_vq)) {
        apply_filter();
    }
}

void NetControl::follow_address() {
    filter_.own = net::unpack(mac_);
    if (negotiated(net::feature::ctrl_vq)) {
        apply_filter();
    }
}

std::uint32_t NetControl::serve(const virtio::Chain& chain) {
    virtio::ChainReader reader(chain);
    virtio::ChainWriter writer(chain);
    const auto header = reader.value<CommandHeader>();
    const bool done =
        header && execute(static_cast<std::uint16_t>(header->group << 8 | header->command), reader);
    writer.value(done ? net::control::ok : net::control::error);
    return writer.written();
}

bool NetControl::execute(std::uint16_t command, virtio::ChainReader& reader) {
    using namespace net;
    switch (command) {
        case control::rx_promisc:
        case control::rx_allmulti:
            return negotiated(feature::ctrl_rx) && set_mode(command, reader);
        case control::rx_alluni:
        case control::rx_nomulti:
        case control::rx_nouni:
        case control::rx_nobcast:
            return negotiated(feature::ctrl_rx_extra) && set_mode(command, reader);
        case control::mac_table_set:
            return negotiated(feature::ctrl_rx) && set_tables(reader);
        case control::mac_addr_set:
            return negotiated(feature::ctrl_mac_addr) && set_address(reader);
        case control::vlan_add:
        case control::vlan_del:
            return negotiated(feature::ctrl_vlan) && set_vlan(command == control::vlan_add, reader);
        case control::mq_pairs_set:
            return negotiated(feature::mq) && set_pairs(reader);
        case control::mq_rss_config:
            return negotiated(feature::rss) && set_rss(reader);
        case control::guest_offloads_set:
            return negotiated(feature::ctrl_guest_offloads) && set_offloads(reader);
        default:
            return false;
    }
}

void NetControl::apply_filter() {
    for (const auto& pair : pairs_) {
        pair->set_filter(filter_);
    }
}

bool NetControl::set_mode(std::uint16_t command, virtio::ChainReader& reader) {
    const auto on = reader.value<std::uint8_t>();
    if (!on) {
        return false;
    }
    constexpr std::array modes{&NetFilter::promiscuous, &NetFilter::all_multicast,
                               &NetFilter::all_unicast, &NetFilter::no_multicast,
                               &NetFilter::no_unicast,  &NetFilter::no_broadcast};
    filter_.*modes[command] = *on != 0;
    apply_filter();
    return true;
}

bool NetControl::set_tables(virtio::ChainReader& reader) {
    NetFilter changed = filter_;
    bool all_unicast = false;
    bool all_multicast = false;
    if (!read_table(reader, changed.unicast, all_unicast) ||
        !read_table(reader, changed.multicast, all_multicast)) {
        return false;
    }
    changed.many_unicast = all_unicast;
    changed.many_multicast = all_multicast;
    filter_ = std::move(changed);
    apply_filter();
    return true;
}

bool NetControl::set_address(virtio::ChainReader& reader) {
    const auto address = reader.value<MacAddress>();
    if (!address) {
        return false;
    }
    mac_ = net::pack(*address);
    follow_address();
    return true;
}

bool NetControl::set_vlan(bool wanted, virtio::ChainReader& reader) {
    const auto vlan = reader.value<std::uint16_t>();
    if (!vlan || *vlan > vlan_max) {
        return false;
    }
    filter_.vlans[*vlan] = wanted;
    apply_filter();
    return true;
}

bool NetControl::set_pairs(virtio::ChainReader& reader) {
    const auto count = reader.value<std::uint16_t>();
    if (!count || *count < 1 || *count > pairs_.size()) {
        return false;
    }
    // This command ends what the other one chose (5.1.6.5.5).
    if (std::exchange(steering_, nullptr)) {
        pairs_.front()->steer(nullptr);
    }
    attached_pairs_ = *count;
    apply_pairs();
    return true;
}

bool NetControl::set_rss(virtio::ChainReader& reader) {
    auto rules = read_steering(reader, pairs_.size());
    if (!rules || !pairs_.front()->steer(&*rules)) {
        return false;
    }
    attached_pairs_ = static_cast<std::uint16_t>(
        1 + std::max(rules->unclassified, std::ranges::max(rules->table)));
    steering_ = std::make_shared<const backend::ReceiveSteering>(std::move(*rules));
    apply_pairs();
    return true;
}

void NetControl::apply_pairs() {
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
        pairs_[i]->set_attached(i < attached_pairs_);
    }
}

bool NetControl::set_offloads(virtio::ChainReader& reader) {
    const auto wanted = reader.value<std::uint64_t>();
    // One that needs another cannot be had without it (5.1.3.1): no back end could give it.
    if (!wanted || (*wanted & ~(negotiated_ & net::feature::guest_offloads)) != 0 ||
        !virtio::dependencies_met(*wanted, net::dependencies())) {
        return false;
    }
    offloads_ = *wanted;
    pairs_.front()->set_receive_offloads(net::guest_offloads(offloads_));
    return true;
}

}  // namespace cupule::device
