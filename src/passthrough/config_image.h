#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "passthrough/host_device.h"

namespace cupule::passthrough {

/// A capability as the host's function has it. `length` is what the capability is known to have,
/// or reaches to the next one: never into another, never past the space.
struct ConfigCapability {
    std::uint16_t id = 0;
    bool extended = false;
    std::uint8_t version = 0;  // of extended ones
    std::uint16_t offset = 0;
    std::uint16_t length = 0;
};

/// The capabilities of a function in the order of its lists, standard ones first. Lists that go
/// round, leave the space or overlap end where they do.
struct ConfigImage {
    std::vector<ConfigCapability> capabilities{};

    const ConfigCapability* find(std::uint8_t id) const;
    const ConfigCapability* find_extended(std::uint16_t id) const;
};

/// Reads 1, 2 or 4 bytes of a configuration space; ones where there are none.
using ConfigReader = std::function<std::uint64_t(std::uint64_t offset, unsigned size)>;

/// `config_size`: 256 or 4096.
ConfigImage read_config_image(const ConfigReader& read, unsigned config_size);
ConfigImage read_config_image(HostDevice& device);
/// A reader of bytes that stay where they are.
ConfigReader config_reader(std::span<const std::uint8_t> bytes);

/// What the BAR's register says of its kind; `size` is what the host says. No pieces.
HostBar describe_bar(HostDevice& device, unsigned bar, std::uint64_t size);

/// Capability ids that are not in pci::capability (PCI Code and ID Assignment 1.11, 2 and 3).
namespace host_capability {
inline constexpr std::uint16_t vital_product_data = 0x03;
inline constexpr std::uint16_t advanced_features = 0x13;
// Extended.
inline constexpr std::uint16_t advanced_errors = 0x0001;
inline constexpr std::uint16_t device_serial_number = 0x0003;
inline constexpr std::uint16_t vendor_specific_extended = 0x000B;
inline constexpr std::uint16_t latency_tolerance = 0x0018;
inline constexpr std::uint16_t precision_time_measurement = 0x001F;
inline constexpr std::uint16_t designated_vendor_specific = 0x0023;
}  // namespace host_capability

}  // namespace cupule::passthrough
