#pragma once

#include <cstdint>

#include "base/field.h"

// Virtio over PCI, modern (Virtio 1.3, 4.1.4): ids, where the structures lie, and their registers.
// The places are acrn-dm's.
namespace cupule::virtio::pci_layout {

inline constexpr std::uint16_t vendor_id = 0x1AF4;
inline constexpr std::uint16_t device_id_base = 0x1040;
inline constexpr std::uint16_t no_vector = 0xFFFF;  // VIRTIO_MSI_NO_VECTOR

inline constexpr unsigned msix_bar = 1;
inline constexpr unsigned structures_bar = 4;
inline constexpr std::uint64_t structures_size = 0x4000;
inline constexpr std::uint64_t region_size = 0x1000;
inline constexpr std::uint32_t common_offset = 0x0000;
inline constexpr std::uint32_t isr_offset = 0x1000;
inline constexpr std::uint32_t device_offset = 0x2000;
inline constexpr std::uint32_t notify_offset = 0x3000;
inline constexpr std::uint32_t notify_multiplier = 4;

/// What one notification region of 4 KiB has room for.
inline constexpr std::uint64_t queues_max = region_size / notify_multiplier;

/// cfg_type of the vendor capabilities (4.1.4).
inline constexpr std::uint8_t common_type = 1;  // VIRTIO_PCI_CAP_COMMON_CFG
inline constexpr std::uint8_t notify_type = 2;  // VIRTIO_PCI_CAP_NOTIFY_CFG
inline constexpr std::uint8_t isr_type = 3;     // VIRTIO_PCI_CAP_ISR_CFG
inline constexpr std::uint8_t device_type = 4;  // VIRTIO_PCI_CAP_DEVICE_CFG
inline constexpr std::uint8_t window_type = 5;  // VIRTIO_PCI_CAP_PCI_CFG

/// The common configuration structure (4.1.4.3).
namespace common {
inline constexpr std::uint64_t device_feature_select = 0x00;
inline constexpr std::uint64_t device_feature = 0x04;
inline constexpr std::uint64_t driver_feature_select = 0x08;
inline constexpr std::uint64_t driver_feature = 0x0C;
inline constexpr std::uint64_t config_msix_vector = 0x10;
inline constexpr std::uint64_t num_queues = 0x12;
inline constexpr std::uint64_t device_status = 0x14;
inline constexpr std::uint64_t config_generation = 0x15;
inline constexpr std::uint64_t queue_select = 0x16;
inline constexpr std::uint64_t queue_size = 0x18;
inline constexpr std::uint64_t queue_msix_vector = 0x1A;
inline constexpr std::uint64_t queue_enable = 0x1C;
inline constexpr std::uint64_t queue_notify_off = 0x1E;
inline constexpr std::uint64_t queue_desc = 0x20;
inline constexpr std::uint64_t queue_driver = 0x28;
inline constexpr std::uint64_t queue_device = 0x30;
inline constexpr std::uint64_t queue_notif_config_data = 0x38;
inline constexpr std::uint64_t queue_reset = 0x3A;
inline constexpr std::uint64_t end = 0x40;
}  // namespace common

/// The legacy interface (4.1.4.10): one I/O BAR, the device's own configuration behind it.
inline constexpr unsigned legacy_bar = 0;
inline constexpr std::uint64_t legacy_bar_size = 0x100;
inline constexpr std::uint16_t legacy_device_id_base = 0x1000;
namespace legacy {
inline constexpr std::uint64_t device_features = 0x00;
inline constexpr std::uint64_t driver_features = 0x04;
inline constexpr std::uint64_t queue_address = 0x08;  // in pages
inline constexpr std::uint64_t queue_size = 0x0C;
inline constexpr std::uint64_t queue_select = 0x0E;
inline constexpr std::uint64_t queue_notify = 0x10;
inline constexpr std::uint64_t device_status = 0x12;
inline constexpr std::uint64_t isr_status = 0x13;
inline constexpr std::uint64_t config_msix_vector = 0x14;  // with MSI-X enabled only
inline constexpr std::uint64_t queue_msix_vector = 0x16;   // the same
inline constexpr std::uint64_t device = 0x14;              // without MSI-X
inline constexpr std::uint64_t device_with_msix = 0x18;
/// The unit of queue_address, and what the used ring is aligned to (2.7.2).
inline constexpr std::uint64_t page = 4096;
}  // namespace legacy

/// ISR status (4.1.4.5).
inline constexpr base::Bit<std::uint8_t, 0> isr_queue{};   // Queue Interrupt
inline constexpr base::Bit<std::uint8_t, 1> isr_config{};  // Device Configuration Interrupt

}  // namespace cupule::virtio::pci_layout
