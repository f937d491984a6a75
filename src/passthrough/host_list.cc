#include "passthrough/host_list.h"

#include <fmt/core.h>

#include <span>

#include "passthrough/host_checks.h"
#include "passthrough/time_measurement.h"

namespace cupule::passthrough {
namespace {

std::string interrupts_text(const HostFunction& function) {
    const bool has_messages = function.has_msix || function.has_msi;
    std::string text = function.has_msix ? "MSI-X" : function.has_msi ? "MSI" : "";
    if (function.interrupt_pin != 0 && (function.gsi || !has_messages)) {
        text += has_messages ? " or " : "";
        text += function.gsi   ? fmt::format("INTx GSI {}", *function.gsi)
                : function.irq ? fmt::format("INTx IRQ {}", *function.irq)
                               : std::string("INTx (line not known before a driver enables it)");
    }
    return text.empty() ? "no interrupt" : text;
}

std::string time_text(const HostTopology& host, const HostFunction& function) {
    const HostFunction* port = function.upstream ? host.find(*function.upstream) : nullptr;
    const std::span<const std::uint8_t> above = port != nullptr
                                                    ? std::span<const std::uint8_t>(port->config)
                                                    : std::span<const std::uint8_t>();
    return check_time_measurement(function.config, above) ? ", PTM" : "";
}

std::string text_of(const HostTopology& host, const DriverBinding& binding,
                    const HostFunction& function) {
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
    if (const auto record = binding.record(function)) {
        text += fmt::format("    taken from {}; `cupule passthrough unbind {}` gives it back\n",
                            record->driver.empty() ? "nobody" : record->driver,
                            function.address.text());
    }
    for (const std::string& obstacle : find_obstacles(host, function)) {
        text += fmt::format("    not as it is: {}\n", obstacle);
    }
    return text;
}

}  // namespace

std::string list_functions(const HostTopology& host, const DriverBinding& binding) {
    std::string text;
    for (const HostFunction& function : host.functions()) {
        if (!function.is_bridge()) {
            text += text_of(host, binding, function);
        }
    }
    return text;
}

}  // namespace cupule::passthrough
