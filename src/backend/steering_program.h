#pragma once

#include "backend/receive_steering.h"
#include "base/error.h"
#include "base/file_descriptor.h"

namespace cupule::backend {

/// Loads a program into the kernel, a socket filter of eBPF, that answers a frame with a number of
/// `steering.table` or with `steering.unclassified`: what a tap takes as its steering rule
/// (TUNSETSTEERINGEBPF, linux/if_tun.h). Its tables go with it; nothing of it ever changes.
///
/// It reads up to two VLAN tags, IPv4 with options, and IPv6 with up to six extension headers.
/// Fragments have the hash of their addresses, so that all of one datagram stay together; so have
/// TCP and UDP where their hash is not asked for, or cannot be found.
///
/// Fails where the kernel does not let this process load programs (CAP_BPF).
base::Result<base::FileDescriptor> load_steering_program(const ReceiveSteering& steering);

}  // namespace cupule::backend
