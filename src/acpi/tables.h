/// The fixed-format tables. All but the DSDT, which is AML and has `dsdt.h`.
///
/// Addresses are guest physical. Document: ACPI Specification 6.5, the section named with each
/// function.
#pragma once

#include <cstdint>
#include <span>

#include "acpi/platform.h"
#include "acpi/table.h"

namespace cupule::acpi {

/// RSDP revision 2 (5.2.5.3).
[[nodiscard]] Table make_rsdp(std::uint32_t rsdt_address, std::uint64_t xsdt_address);

/// RSDT (5.2.7) and XSDT (5.2.8).
[[nodiscard]] Table make_rsdt(std::span<const std::uint32_t> tables);
[[nodiscard]] Table make_xsdt(std::span<const std::uint64_t> tables);

/// FADT 6.5 (5.2.9), 276 bytes.
[[nodiscard]] Table make_fadt(const PlatformDescription& platform, std::uint32_t facs_address,
                              std::uint32_t dsdt_address);

/// FACS version 2 (5.2.10), 64 bytes; the guest writes its waking vectors there.
[[nodiscard]] Table make_facs();

/// MADT (5.2.12), flat: every processor, every I/O APIC, source overrides, NMI.
[[nodiscard]] Table make_madt(const PlatformDescription& platform);

/// HPET (IA-PC HPET Specification 1.0a, 3.2.4).
[[nodiscard]] Table make_hpet(const Hpet& hpet);

/// MCFG (PCI Firmware Specification 3.3, 4.1.2).
[[nodiscard]] Table make_mcfg(const Ecam& ecam);

/// SSDT (5.2.11.2) around AML, for `PlatformDescription::extra_tables`.
[[nodiscard]] Table make_ssdt(const aml::Term& body);

}  // namespace cupule::acpi
