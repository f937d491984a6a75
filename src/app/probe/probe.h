#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace cupule::app {

/// One thing the host can do, or cannot.
struct Capability {
    /// Stable, for scripts: "kvm-usable".
    std::string name = {};
    bool available = false;
    /// What was found.
    std::string reason = {};
    /// What to do about a "no"; empty with a "yes" and where nothing helps.
    std::string mend = {};
};

/// What the probe looks at; tests give a directory of their own.
struct ProbeHost {
    /// In front of every path, empty for this host.
    std::string root;
    /// try_kvm_guest on the given device.
    std::function<base::Result<void>(const std::string& device)> try_kvm;
};

ProbeHost this_host();

/// All capabilities, always the same ones in the same order.
std::vector<Capability> probe(const ProbeHost& host);

/// Whether KVM runs unmodified guests here.
Capability probe_kvm_usable(const ProbeHost& host);

std::string capabilities_text(const std::vector<Capability>& capabilities);
/// {"capabilities": [{"name", "available", "reason", "mend"}...], "hypervisor": "kvm" or null}.
std::string capabilities_json(const std::vector<Capability>& capabilities);

/// `cupule probe [--json]` on this host.
std::string probe_text();
std::string probe_json();

}  // namespace cupule::app
