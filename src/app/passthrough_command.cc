#include "app/passthrough_command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "app/exit_codes.h"
#include "passthrough/driver_binding.h"
#include "passthrough/driver_keeper.h"
#include "passthrough/host_checks.h"
#include "passthrough/host_list.h"
#include "passthrough/host_topology.h"

namespace cupule::app {
namespace {

using passthrough::HostFunction;
using passthrough::HostTopology;

constexpr std::string_view usage = "it takes `list`, `bind DEVICE...` or `unbind DEVICE...`";

int complain(const CommandContext& context, std::string_view message) {
    context.complain(fmt::format("cupule: passthrough: {}\n", message));
    return exit_failure;
}

int change_all(const HostTopology& host, bool bind, std::span<const std::string_view> devices,
               const CommandContext& context) {
    const passthrough::DriverBinding binding;
    int status = exit_ok;
    for (const std::string_view word : devices) {
        const auto address = passthrough::HostAddress::parse(word);
        const HostFunction* function = address ? host.find(*address) : nullptr;
        if (function == nullptr) {
            status = complain(context,
                              fmt::format("this host has no PCI device '{}'; `cupule passthrough "
                                          "list` shows them",
                                          word));
            continue;
        }
        auto done =
            bind ? passthrough::check_virtual_functions(host, *function) : base::Result<void>{};
        if (done) {
            done = bind ? binding.bind(*function) : binding.unbind(*function);
        }
        if (!done) {
            status = complain(context, done.error().message);
        }
    }
    return status;
}

/// The process that `cupule run` starts to give devices back (passthrough::DriverKeeper).
int keep(const CommandContext& context) {
    // Whoever ends a group of processes does not mean this one: it ends with the run it serves.
    for (const int number : {SIGHUP, SIGINT, SIGTERM}) {
        std::signal(number, SIG_IGN);
    }
    int status = exit_ok;
    for (const base::Error& error :
         passthrough::keep_drivers(STDIN_FILENO, passthrough::DriverBinding())) {
        status = complain(context, error.message);
    }
    return status;
}

}  // namespace

int passthrough_command(std::span<const std::string_view> words, const CommandContext& context) {
    if (words.empty()) {
        return complain(context, usage);
    }
    const std::string_view what = words[0];
    const auto devices = words.subspan(1);
    if (what == "keep" && devices.empty()) {
        return keep(context);
    }
    const bool lists = what == "list";
    if ((!lists && what != "bind" && what != "unbind") || lists != devices.empty()) {
        return complain(context, fmt::format("'{}': {}", what, usage));
    }
    const auto host = HostTopology::read();
    if (!host) {
        return complain(context, host.error().message);
    }
    if (lists) {
        context.print(passthrough::list_functions(*host, passthrough::DriverBinding()));
        return exit_ok;
    }
    return change_all(*host, what == "bind", devices, context);
}

}  // namespace cupule::app
