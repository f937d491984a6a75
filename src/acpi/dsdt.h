/// The DSDT: the name space of the virtual machine.
///
///     \PICM, \_PIC, \_S0, \_S3, \_S5
///     \_GPE                     the event that a PCI function came or went, where there is one
///     \_SB.C000 ...             processors (ACPI0007)
///     \_SB.MEM                  reserved memory, with the ECAM (PNP0C02)
///     \_SB.HPET
///     \_SB.PCI0                 host bridge (PNP0A08): _CRS, _PRT, _OSC
///     \_SB.PCI0.LPC             ISA bridge: LNKA-LNKH, SYSR, PIC, TIMR, SPKR, RTC, KBD, MOU, COMn
///
/// Without an LPC bridge the ISA devices stand in \_SB.PCI0 and there are no link devices.
/// Document: ACPI Specification 6.5, chapters 5, 6 and 8.
#pragma once

#include <cstddef>
#include <string>

#include "acpi/platform.h"
#include "acpi/table.h"

namespace cupule::acpi {

[[nodiscard]] Table make_dsdt(const PlatformDescription& platform);

/// Full path of a processor's device, for AML that refers to it: "\\_SB.C000".
[[nodiscard]] std::string processor_path(std::size_t index);

/// \_SB.PCI0 with all that is below it.
[[nodiscard]] aml::Term make_pci_host(const PlatformDescription& platform);

/// \_GPE with the event that tells of changes on the bus; empty where there is none.
[[nodiscard]] aml::Term make_pci_events(const PlatformDescription& platform);

/// _PRT (6.2.13) of the root bus and the packages it chooses from. Empty without routes.
[[nodiscard]] aml::Term make_pci_routing(const PciHost& pci);

/// The PIRQ registers and the PCI interrupt link devices (6.2.8 _DIS, 6.2.12 _PRS, 6.2.16 _SRS),
/// to stand in the LPC bridge's device.
[[nodiscard]] aml::Term make_pirq_links(const LpcBridge& lpc);

/// The ISA devices and the reserved ports.
[[nodiscard]] aml::Term make_isa_devices(const PlatformDescription& platform);

/// All AML contributed for one place, in order.
[[nodiscard]] aml::Term contributed(const PlatformDescription& platform, AmlPlace place);

}  // namespace cupule::acpi
