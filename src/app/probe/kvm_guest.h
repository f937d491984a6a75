#pragma once

#include <string>

#include "base/error.h"

namespace cupule::app {

/// Runs a guest of a few instructions on the KVM behind `device` ("/dev/kvm"): long mode,
/// cmpxchg16b, int3 through an IDT, xrstor. A KVM without VT-x or SVM behind it opens like any
/// other and then cannot run one of these, which every Linux kernel executes. Takes milliseconds;
/// a guest that hangs is ended after `timeout_ms`. Forks: call it with one thread only. The error
/// says what failed.
base::Result<void> try_kvm_guest(const std::string& device, int timeout_ms);

}  // namespace cupule::app
