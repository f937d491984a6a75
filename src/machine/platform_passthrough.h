#pragma once

#include <memory>
#include <string>
#include <vector>

#include "acpi/platform.h"
#include "acpi/table.h"
#include "base/error.h"
#include "hypervisor/vm.h"
#include "machine/vm_options.h"

namespace cupule::machine {

/// Where ACPI devices and memory of the host are looked for; tests name their own.
struct PlatformHost {
    std::string root{};
    std::string memory_path = "/dev/mem";
};

/// Devices of the host that are not PCI, in the guest (`--acpidev_pt`, `--mmiodev_pt`): their
/// registers in the guest's memory, and what ACPI says of them there. Control thread.
class PlatformPassthrough {
  public:
    /// Checks all, then maps them. An ACPI device keeps its addresses where the guest has nothing
    /// else there; other ranges, as with acrn-dm, begin at the next free page from
    /// platform_window_base. `vm` outlives this. Errors name the option.
    static base::Result<std::unique_ptr<PlatformPassthrough>> create(const VmOptions& options,
                                                                     hypervisor::Vm& vm,
                                                                     PlatformHost host = {});
    ~PlatformPassthrough();

    /// A device in the name space for each ACPI device.
    std::vector<acpi::AmlContribution> contributions() const;
    /// Of ranges without a device, so that the guest's system puts nothing else there.
    std::vector<acpi::AddressRange> reserved() const;
    /// The TPM2 table that goes with a TPM.
    std::vector<acpi::Table> tables() const;

  private:
    struct Impl;
    explicit PlatformPassthrough(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// A TPM2 table of the host (TCG ACPI Specification 1.3, table 7) for a guest that has the TPM's
/// registers at the same addresses: without the event log, which is of the host's start. Fails
/// where the table is damaged or wants more than registers.
base::Result<acpi::Table> make_passed_tpm_table(std::vector<std::uint8_t> bytes);

}  // namespace cupule::machine
