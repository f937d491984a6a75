#pragma once

#include "machine/vm_options.h"

// What the command line fills in is the machine's own description of itself; here under app's
// names.
namespace cupule::app {

using machine::bootargs_length_max;
using machine::ExitCodes;
using machine::FirmwareOptions;
using machine::HugePages;
using machine::Hypervisor;
using machine::InterruptMonitorOptions;
using machine::LoggerOptions;
using machine::memory_size_max;
using machine::memory_size_min;
using machine::memory_size_unit;
using machine::AcpiPassthroughOptions;
using machine::MmioPassthroughOptions;
using machine::PinnedCpu;
using machine::SerialOptions;
using machine::SlotOptions;
using machine::vcpu_count_max;
using machine::vm_name_length_max;
using machine::VmOptions;

}  // namespace cupule::app
