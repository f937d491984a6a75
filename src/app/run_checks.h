#pragma once

#include <optional>
#include <vector>

#include "app/problem.h"
#include "app/run_options.h"
#include "app/vm_options.h"

// What the parts of a command line are together, and on this host. Each check adds to `problems`
// and changes only what it says.
namespace cupule::app {

/// The wish for vCPUs, before the host was asked.
struct CpuWish {
    std::optional<unsigned> count;
    std::vector<std::uint32_t> lapic_ids;
};

/// Length and characters.
void check_name(const VmOptions& options, Problems& problems);

/// Looks the ids up and fills in `vcpu_count` and `cpu_affinity`.
void check_cpus(VmOptions& options, const CpuWish& wish, const HostQueries& host,
                Problems& problems);

/// Something to boot, and nothing that stands idle beside it.
void check_boot(const VmOptions& options, Problems& problems);

/// Devices that exist, in places of their own that a guest can find. Takes obsolete devices out.
void check_slots(VmOptions& options, Problems& problems);

void check_serial_ports(const VmOptions& options, const HostQueries& host, Problems& problems);

/// Hypervisor and real-time flags. Takes `lapic_passthrough` back where it has no effect.
void check_life_cycle(VmOptions& options, Problems& problems);

/// Where the manager's socket goes: `wish` is the value of --mngr, empty where there is none.
void place_manager_socket(const std::string& wish, bool as_acrn_dm, VmOptions& options);

}  // namespace cupule::app
