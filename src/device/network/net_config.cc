#include "device/network/net_config.h"

#include <array>

#include "device/network/virtio_net_registers.h"
#include "virtio/features.h"

namespace cupule::device::net {
namespace {

constexpr std::array feature_dependencies{
    virtio::FeatureDependency{.feature = feature::guest_tso4, .needs = feature::guest_csum},
    virtio::FeatureDependency{.feature = feature::guest_tso6, .needs = feature::guest_csum},
    virtio::FeatureDependency{.feature = feature::guest_uso4, .needs = feature::guest_csum},
    virtio::FeatureDependency{.feature = feature::guest_uso6, .needs = feature::guest_csum},
    virtio::FeatureDependency{.feature = feature::guest_ecn,
                              .needs = feature::guest_tso4 | feature::guest_tso6},
    virtio::FeatureDependency{.feature = feature::host_ecn,
                              .needs = feature::host_tso4 | feature::host_tso6},
    virtio::FeatureDependency{.feature = feature::host_tso4, .needs = feature::csum},
    virtio::FeatureDependency{.feature = feature::host_tso6, .needs = feature::csum},
    virtio::FeatureDependency{.feature = feature::host_uso, .needs = feature::csum},
    virtio::FeatureDependency{.feature = feature::ctrl_rx, .needs = feature::ctrl_vq},
    virtio::FeatureDependency{.feature = feature::ctrl_rx_extra, .needs = feature::ctrl_vq},
    virtio::FeatureDependency{.feature = feature::ctrl_vlan, .needs = feature::ctrl_vq},
    virtio::FeatureDependency{.feature = feature::ctrl_mac_addr, .needs = feature::ctrl_vq},
    virtio::FeatureDependency{.feature = feature::ctrl_guest_offloads, .needs = feature::ctrl_vq},
    virtio::FeatureDependency{.feature = feature::mq, .needs = feature::ctrl_vq},
    virtio::FeatureDependency{.feature = feature::rss, .needs = feature::ctrl_vq},
};

}  // namespace

std::uint64_t read(const Configuration& configuration, std::uint64_t offset, unsigned size) {
    std::array<std::uint8_t, config::bytes> bytes{};
    const auto put = [&bytes](std::uint64_t at, std::uint64_t value, unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            bytes[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
        }
    };
    put(config::mac, configuration.mac, 6);
    put(config::status, configuration.link_up ? config::link_up : 0U, 2);
    put(config::max_virtqueue_pairs, configuration.pairs, 2);
    put(config::mtu, configuration.mtu, 2);
    if (configuration.steers) {
        using backend::ReceiveSteering;
        put(config::rss_max_key_size, ReceiveSteering::key_bytes, 1);
        put(config::rss_max_indirection_table_length, ReceiveSteering::table_length_max, 2);
        put(config::supported_hash_types, backend::hash_type::all, 4);
    }
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size && offset < bytes.size() && offset + i < bytes.size(); ++i) {
        value |= std::uint64_t{bytes[offset + i]} << (8 * i);
    }
    return value;
}

std::uint64_t pack(const MacAddress& mac) {
    std::uint64_t result = 0;
    for (std::size_t i = 0; i < mac.size(); ++i) {
        result |= std::uint64_t{mac[i]} << (8 * i);
    }
    return result;
}

MacAddress unpack(std::uint64_t mac) {
    MacAddress address;
    for (std::size_t i = 0; i < address.size(); ++i) {
        address[i] = static_cast<std::uint8_t>(mac >> (8 * i));
    }
    return address;
}

std::uint64_t write_mac(std::uint64_t mac, std::uint64_t features, std::uint64_t offset,
                        unsigned size, std::uint64_t value) {
    if ((features & (virtio::feature::version_1 | feature::ctrl_mac_addr)) != 0) {
        return mac;
    }
    for (unsigned i = 0; i < size && offset < config::mac_bytes && offset + i < config::mac_bytes;
         ++i) {
        const auto place = static_cast<unsigned>(8 * (offset + i));
        mac = (mac & ~(std::uint64_t{0xFF} << place)) | (value >> (8 * i) & 0xFF) << place;
    }
    return mac;
}

std::size_t header_bytes(std::uint64_t features) {
    return (features & (virtio::feature::version_1 | feature::mrg_rxbuf)) != 0
               ? sizeof(backend::NetHeader)
               : header::legacy_bytes;
}

std::uint64_t offload_features(const backend::NetOffloads& offloads) {
    if (!offloads.checksum) {
        return 0;
    }
    std::uint64_t result = feature::csum | feature::guest_csum;
    result |= offloads.tso4 ? feature::host_tso4 | feature::guest_tso4 : 0;
    result |= offloads.tso6 ? feature::host_tso6 | feature::guest_tso6 : 0;
    result |= offloads.tso_ecn ? feature::host_ecn | feature::guest_ecn : 0;
    result |= offloads.uso ? feature::host_uso | feature::guest_uso4 | feature::guest_uso6 : 0;
    return result;
}

backend::NetOffloads guest_offloads(std::uint64_t features) {
    const std::uint64_t uso = feature::guest_uso4 | feature::guest_uso6;
    return {.checksum = (features & feature::guest_csum) != 0,
            .tso4 = (features & feature::guest_tso4) != 0,
            .tso6 = (features & feature::guest_tso6) != 0,
            .tso_ecn = (features & feature::guest_ecn) != 0,
            .uso = (features & uso) == uso};
}

std::span<const virtio::FeatureDependency> dependencies() {
    return feature_dependencies;
}

}  // namespace cupule::device::net
