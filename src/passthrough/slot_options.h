#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "passthrough/host_topology.h"

namespace cupule::passthrough {

/// The text of `-s N,passthru,...` in parts. Nothing is opened.
struct SlotText {
    /// One of the two: a function of the host, or a model in software.
    std::optional<HostAddress> address{};
    std::string model{};
    bool keep_gsi = false;
    bool no_reset = false;
    bool d3hot_reset = false;
    bool enable_ptm = false;
    /// Takes the function from the host's driver for as long as the virtual machine runs.
    bool bind = false;
    /// The host cannot remap interrupts, and the user knows what that means.
    bool unsafe_interrupts = false;
    std::optional<unsigned> msix_on_msi_bar{};
    /// The physical GSI of INTx. The hypervisor's word on ACRN; with VFIO, whose kernel has routed
    /// it, what is compared with others where that kernel does not tell.
    std::optional<unsigned> gsi{};
    std::string rom_file{};
    std::string dsdt_file{};
};

/// `BUS/DEV/FUNC[,OPTION...]` or `model:NAME[,OPTION...]`. The error names the word.
base::Result<SlotText> parse_slot_text(std::string_view text);

}  // namespace cupule::passthrough
