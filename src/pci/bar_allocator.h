#pragma once

#include <cstdint>

#include "base/error.h"
#include "pci/bus.h"

namespace cupule::pci {

/// A range of addresses to hand out, both ends included.
struct ResourceWindow {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
};

/// Where firmware may put BARs. The defaults are acrn-dm's.
struct ResourceWindows {
    ResourceWindow ports{.first = 0x2000, .last = 0xFFFF};
    ResourceWindow memory_32{.first = 0x8000'0000, .last = 0xDFFF'FFFF};
    ResourceWindow memory_64{.first = 0x40'0000'0000, .last = 0x7F'FFFF'FFFF};
    /// 64-bit BARs up to this size go below 4 GiB all the same.
    std::uint64_t low_64_bit_max = 0x200'0000;
};

/// Does what firmware does before it starts an operating system: gives every BAR an address in
/// ascending order of device, function and BAR, numbers the buses behind bridges and sets their
/// windows, and turns decoding and bus mastering on (ROMs get an address and stay off; see
/// Attributes::bus_mastering_off). The same tree gives the same addresses, so it is called again
/// after each reset. Control thread; takes the functions' monitors. Gives the highest number of a
/// bus. Fails, naming the device and its BAR, when a window is full.
base::Result<std::uint8_t> assign_resources(const Bus& root, const ResourceWindows& windows);

}  // namespace cupule::pci
