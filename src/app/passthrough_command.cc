#include "app/passthrough_command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "app/exit_codes.h"
#include "passthrough/driver_binding.h"
#include "passthrough/driver_keeper.h"
#include "passthrough/host_checks.h"
#include "passthrough/host_topology.h"
#include "passthrough/time_measurement.h"

namespace cupule::app {
namespace {

using passthrough::HostFunction;
using passthrough::HostTopology;

constexpr std::string_view usage = "it takes `list`, `bind DEVICE...` or `unbind DEVICE...`";

int complain(const CommandContext& context, std::string_view message) {
    context.complain(fmt::format("cupule: passthrough: {}\n", message));
    return exit_failure;
}

std::string interrupts_text(const HostFunction& function) {
    const bool has_messages = function.has_msix || function.has_msi;
    std::string text = function.has_msix ? "MSI-X" : function.has_msi ? "MSI" : "";
    if (function.interrupt_pin != 0 && (function.gsi || !has_messages)) {
        text += has_messages ? " or " : "";
        text += function.gsi ? fmt::format("INTx GSI {}", *function.gsi)
                             : fmt::format("INTx IRQ {}", function.irq);
    }
    return text.empty() ? "no interrupt" : text;
}

std::string time_text(const HostTopology& host, const HostFunction& function) {
    const HostFunction* port = function.upstream ? host.find(*function.upstream) : nullptr;
    const std::span<const std::uint8_t> above = port != nullptr
                                                    ? std::span<const std::uint8_t>(port->config)
                                                    : std::span<const std::uint8_t>();
    return passthrough::check_time_measurement(function.config, above) ? ", PTM" : "";
}

std::string line_of(const HostTopology& host, const HostFunction& function) {
    std::string text =
        fmt::format("{} {:04x}:{:04x} class {:06x} driver {} {} {}{}\n", function.address.text(),
                    function.vendor, function.device, function.class_code,
                    function.driver.empty() ? "none" : function.driver,
                    function.iommu_group ? fmt::format("group {}", *function.iommu_group)
                                         : std::string("no group"),
                    interrupts_text(function), time_text(host, function));
    if (function.physical) {
        text += fmt::format("    a virtual function of {}\n", function.physical->text());
    }
    if (const auto record = passthrough::DriverBinding().record(function)) {
        text += fmt::format("    taken from {}; `cupule passthrough unbind {}` gives it back\n",
                            record->driver.empty() ? "nobody" : record->driver,
                            function.address.text());
    }
    for (const std::string& obstacle : passthrough::find_obstacles(host, function)) {
        text += fmt::format("    not as it is: {}\n", obstacle);
    }
    return text;
}

int list(const HostTopology& host, const CommandContext& context) {
    for (const HostFunction& function : host.functions()) {
        if (!function.is_bridge()) {
            context.print(line_of(host, function));
        }
    }
    return exit_ok;
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
        return list(*host, context);
    }
    return change_all(*host, what == "bind", devices, context);
}

}  // namespace cupule::app
