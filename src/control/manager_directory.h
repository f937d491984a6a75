#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/error.h"

// Where acrnctl and acrnd look for virtual machines: /run/acrn/mngr/NAME.monitor.PID.socket, one
// for each process.
namespace cupule::control {

constexpr std::string_view acrn_manager_directory = "/run/acrn/mngr";

std::string manager_socket_path(std::string_view directory, std::string_view vm_name, pid_t pid);

/// Makes the directory and the one above it where they are missing (0755), and removes sockets
/// that nobody listens on any more and whose process is gone: acrnctl takes the first of a name.
base::Result<void> prepare_manager_directory(const std::string& directory);

}  // namespace cupule::control
