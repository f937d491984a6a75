#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "acpi/table.h"
#include "base/error.h"

namespace cupule::machine {

/// The image of an expansion ROM (PCI Local Bus 3.0, 6.3.1): it begins with 55 AA, up to 16 MiB.
/// An empty path: an empty image.
base::Result<std::vector<std::uint8_t>> read_rom(const std::string& path);

/// A compiled ACPI table (an SSDT), checked for its length and checksum, taken as it is.
base::Result<acpi::Table> read_acpi_table(const std::string& path);

}  // namespace cupule::machine
