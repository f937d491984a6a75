#pragma once

#include <cstdint>

#include "base/bits.h"

// Virtio 1.3: feature bits that belong to the rings and the transport (section 6), status bits
// (2.1). Bits 0 to 23 and 50 to 63 belong to the device type.

namespace cupule::virtio::feature {

inline constexpr std::uint64_t any_layout = base::bit(27);         // legacy only
inline constexpr std::uint64_t indirect_desc = base::bit(28);      // VIRTIO_F_INDIRECT_DESC
inline constexpr std::uint64_t event_idx = base::bit(29);          // VIRTIO_F_EVENT_IDX
inline constexpr std::uint64_t version_1 = base::bit(32);          // VIRTIO_F_VERSION_1
inline constexpr std::uint64_t access_platform = base::bit(33);    // VIRTIO_F_ACCESS_PLATFORM
inline constexpr std::uint64_t ring_packed = base::bit(34);        // VIRTIO_F_RING_PACKED
inline constexpr std::uint64_t in_order = base::bit(35);           // VIRTIO_F_IN_ORDER
inline constexpr std::uint64_t notification_data = base::bit(38);  // VIRTIO_F_NOTIFICATION_DATA
inline constexpr std::uint64_t notif_config_data = base::bit(39);  // VIRTIO_F_NOTIF_CONFIG_DATA
inline constexpr std::uint64_t ring_reset = base::bit(40);         // VIRTIO_F_RING_RESET

/// What the ring engine does for every device. ACCESS_PLATFORM is taken without an IOMMU: the
/// platform's addresses are guest physical ones. Not here: NOTIFICATION_DATA and
/// NOTIF_CONFIG_DATA, which a transport adds when its doorbell can carry them.
inline constexpr std::uint64_t ring_engine =
    indirect_desc | event_idx | version_1 | access_platform | ring_packed | in_order | ring_reset;

}  // namespace cupule::virtio::feature

namespace cupule::virtio::status {

inline constexpr std::uint8_t acknowledge = 0x01;
inline constexpr std::uint8_t driver = 0x02;
inline constexpr std::uint8_t driver_ok = 0x04;
inline constexpr std::uint8_t features_ok = 0x08;
inline constexpr std::uint8_t device_needs_reset = 0x40;
inline constexpr std::uint8_t failed = 0x80;

}  // namespace cupule::virtio::status
