#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "passthrough/software_device.h"

namespace cupule::passthrough {

/// A model by its name on the command line, `-s N,passthru,model:NAME`; std::nullopt: there is
/// none of that name.
///
/// `i225`: the configuration space of an Intel I225-LM network controller behind an Intel root
/// port, after published `lspci -vv` output of both, with one BAR of SoftwareRegisters instead of
/// a network. `conventional`: a PCI device with INTx alone.
std::optional<SoftwareModel> find_software_model(std::string_view name);

/// The names, for messages: "i225, conventional".
std::string software_model_names();

/// The i225 with the given number of interrupts of each kind, for tests.
SoftwareModel make_i225_model(unsigned msi, unsigned msix);

}  // namespace cupule::passthrough
