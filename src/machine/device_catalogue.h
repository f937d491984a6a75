#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace cupule::machine {

/// Whether a device can be had in this build.
enum class DeviceStatus : std::uint8_t {
    exists,
    /// acrn-dm has it, this build does not yet: naming it is an error.
    planned,
    /// Gone from acrn-dm: naming it gives a warning and nothing else.
    obsolete,
};

/// A line of the catalogue: what `-s SLOT,NAME[,OPTIONS]` may name. Feeds parsing, `cupule devices`
/// and docs/devices.md. All text is static.
struct DeviceInfo {
    std::string_view name;
    /// "vendor:device" in hexadecimal as the guest sees it, empty where the host's ids show.
    std::string_view pci_ids;
    /// The grammar of the text behind the name; empty: the device takes no options.
    std::string_view options;
    std::string_view description;
    DeviceStatus status = DeviceStatus::planned;
};

/// All devices, sorted by name.
std::span<const DeviceInfo> device_catalogue();

/// The device of that name, nullptr when there is none.
const DeviceInfo* find_device(std::string_view name);

}  // namespace cupule::machine
