#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "app/vm_options.h"
#include "base/error.h"

// The grammars of option values. Errors say what is wrong and what is allowed; the caller puts the
// option and the value in front. Nothing here looks at the host.
namespace cupule::app {

/// A whole text that is a number from `min` to `max`: decimal, or 0x and hexadecimal.
base::Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t min,
                                         std::uint64_t max);

/// -m: bytes, from memory_size_min to memory_size_max, a multiple of memory_size_unit.
base::Result<std::uint64_t> parse_memory_size(std::string_view text);

/// --cpu_affinity: at least one id, in order, each once; one given again is left out, as in
/// acrn-dm.
base::Result<std::vector<std::uint32_t>> parse_lapic_ids(std::string_view text);

/// -s, whatever the device is.
base::Result<SlotOptions> parse_slot(std::string_view text);

/// -l, with the port's address and interrupt filled in. Back ends are parsed later.
base::Result<SerialOptions> parse_serial(std::string_view text);

base::Result<InterruptMonitorOptions> parse_interrupt_monitor(std::string_view text);
base::Result<FirmwareOptions> parse_firmware(std::string_view text);
base::Result<MmioPassthroughOptions> parse_mmio_range(std::string_view text);

/// --vtpm2: the socket's path.
base::Result<std::string> parse_tpm_socket(std::string_view text);
base::Result<AcpiPassthroughOptions> parse_acpi_device(std::string_view text);
/// --ssram: the same text when every region of it is well formed.
base::Result<std::string> parse_software_sram(std::string_view text);

/// --logger_setting: `before` with the named places changed.
base::Result<LoggerOptions> parse_logger(std::string_view text, const LoggerOptions& before);
/// --log-level: a name or 1 to 5.
base::Result<base::LogLevel> parse_log_level(std::string_view text);

}  // namespace cupule::app
