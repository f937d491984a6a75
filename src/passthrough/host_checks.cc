#include "passthrough/host_checks.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace cupule::passthrough {
namespace {

/// Drivers with which a group still belongs to VFIO (Linux drivers/vfio: pci-stub and pcieport use
/// no DMA).
constexpr auto harmless_drivers =
    std::to_array<std::string_view>({"", "vfio-pci", "pci-stub", "pcieport"});

bool is_harmless(std::string_view driver) {
    return std::ranges::find(harmless_drivers, driver) != harmless_drivers.end();
}

std::string list(const std::vector<const HostFunction*>& functions) {
    std::string text;
    for (const HostFunction* one : functions) {
        text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", one->address.text(),
                            one->driver.empty() ? "no driver" : one->driver);
    }
    return text;
}

/// Where a function's INTx comes in, as far as anybody knows.
struct Line {
    std::optional<unsigned> irq{};
    std::optional<unsigned> gsi{};

    std::string text() const {
        return gsi ? fmt::format("GSI {}", *gsi) : fmt::format("IRQ {}", irq.value_or(0));
    }
};

Line line_of(const HostFunction& function) {
    return {.irq = function.irq, .gsi = function.gsi};
}

bool is_same(const Line& one, const Line& other) {
    return (one.irq && one.irq == other.irq) || (one.gsi && one.gsi == other.gsi);
}

bool is_wanted(const std::vector<const SlotText*>& slots, const HostAddress& address) {
    return std::ranges::any_of(slots,
                               [&](const SlotText* slot) { return slot->address == address; });
}

base::Result<void> check_group(const HostTopology& host, const HostFunction& function,
                               const std::vector<const SlotText*>& slots) {
    std::vector<const HostFunction*> used = host.group(*function.iommu_group);
    std::erase_if(used, [&](const HostFunction* one) {
        const bool taken = std::ranges::any_of(slots, [&](const SlotText* slot) {
            return slot->address == one->address && must_bind(*one, *slot);
        });
        return taken || is_harmless(one->driver) || one->address == function.address;
    });
    if (used.empty()) {
        return {};
    }
    return base::fail(
        "{} shares IOMMU group {} with {}: they could reach each other's memory, so all of them go "
        "to the guest or stay idle; `cupule passthrough bind` each, or leave {} on the host",
        function.address.text(), *function.iommu_group, list(used), function.address.text());
}

base::Result<void> check_line(const HostTopology& host, const HostFunction& function,
                              const SlotText& slot, const std::vector<const SlotText*>& slots) {
    if (!uses_intx(function, slot)) {
        return {};
    }
    Line line = line_of(function);
    line.gsi = slot.gsi ? slot.gsi : line.gsi;
    std::vector<const HostFunction*> sharers;
    for (const HostFunction& other : host.functions()) {
        if (!other.is_bridge() && !is_wanted(slots, other.address) && other.needs_intx() &&
            is_same(line, line_of(other))) {
            sharers.push_back(&other);
        }
    }
    if (sharers.empty()) {
        return {};
    }
    const bool has_no_messages = function.needs_intx();
    return base::fail(
        "{} {} and shares {} with {}: they go to the same guest together, or all stay on the "
        "host{}",
        function.address.text(),
        has_no_messages ? "has only INTx" : "is to interrupt by INTx (keep_gsi)", line.text(),
        list(sharers), has_no_messages ? "" : "; without keep_gsi it uses messages");
}

/// VFIO takes the interrupt where the host's kernel has routed it.
base::Result<void> check_said_gsi(const HostFunction& function, const SlotText& slot) {
    if (!slot.gsi || !function.gsi || slot.gsi == function.gsi || !uses_intx(function, slot)) {
        return {};
    }
    return base::fail(
        "{}: irq={}: the host's kernel has its INTx on GSI {}, and VFIO takes it from there; leave "
        "irq= out",
        function.address.text(), *slot.gsi, *function.gsi);
}

base::Result<void> check_function(const HostTopology& host, const SlotText& slot,
                                  const std::vector<const SlotText*>& slots) {
    const std::string name = slot.address->text();
    const HostFunction* function = host.find(*slot.address);
    if (function == nullptr) {
        return base::fail("this host has no PCI device {}; `cupule passthrough list` shows them",
                          name);
    }
    if (function->is_bridge()) {
        return base::fail("{} is a bridge; only endpoints can be passed through", name);
    }
    if (!function->iommu_group) {
        return base::fail(
            "{} is behind no IOMMU, so it could overwrite the host: turn VT-d or AMD-Vi on in the "
            "firmware, and intel_iommu=on in the kernel",
            name);
    }
    const auto same = [&](const SlotText* other) { return other->address == slot.address; };
    if (std::ranges::count_if(slots, same) > 1) {
        return base::fail("{} is asked for twice", name);
    }
    if (function->driver != "vfio-pci" && !must_bind(*function, slot)) {
        return base::fail(
            "{} is in use by the host's driver {}; `cupule passthrough bind {}` prepares it, or "
            "the option bind takes it for as long as the virtual machine runs",
            name, function->driver, name);
    }
    CUPULE_TRY(check_virtual_functions(host, *function));
    CUPULE_TRY(check_group(host, *function, slots));
    CUPULE_TRY(check_routed_interrupt(host, slot, slots));
    if (!host.remaps_interrupts() && !slot.unsafe_interrupts) {
        return base::fail(
            "{}: this host does not remap interrupts, so the guest could make the device forge any "
            "interrupt of the host: turn interrupt remapping on (firmware, intremap=on), or "
            "accept the risk with the option unsafe_interrupts",
            name);
    }
    return {};
}

}  // namespace

base::Result<void> check_virtual_functions(const HostTopology& host, const HostFunction& function) {
    const std::vector<const HostFunction*> parts = host.virtual_functions(function.address);
    if (parts.empty() || function.driver == "vfio-pci") {
        return {};
    }
    const std::string name = function.address.text();
    return base::fail(
        "{} has virtual functions, which would lose it: {}; hand those over, or take them away "
        "first: `echo 0 >/sys/bus/pci/devices/{}/sriov_numvfs`",
        name, list(parts), name);
}

bool must_bind(const HostFunction& function, const SlotText& slot) {
    return function.driver != "vfio-pci" &&
           (slot.bind || function.driver.empty() || function.driver == "pci-stub");
}

base::Result<void> check_host_functions(const HostTopology& host,
                                        const std::vector<const SlotText*>& slots) {
    for (const SlotText* slot : slots) {
        CUPULE_TRY(check_function(host, *slot, slots));
    }
    return {};
}

bool uses_intx(const HostFunction& function, const SlotText& slot) {
    return function.needs_intx() || (slot.keep_gsi && function.interrupt_pin != 0);
}

base::Result<void> check_shared_line(const HostTopology& host, const SlotText& slot,
                                     const std::vector<const SlotText*>& slots) {
    const HostFunction* const function = host.find(*slot.address);
    return function != nullptr ? check_line(host, *function, slot, slots) : base::Result<void>{};
}

base::Result<void> check_routed_interrupt(const HostTopology& host, const SlotText& slot,
                                          const std::vector<const SlotText*>& slots) {
    if (const HostFunction* const function = host.find(*slot.address)) {
        CUPULE_TRY(check_said_gsi(*function, slot));
    }
    return check_shared_line(host, slot, slots);
}

std::vector<std::string> find_obstacles(const HostTopology& host, const HostFunction& function) {
    std::vector<std::string> obstacles;
    const auto note = [&](const base::Result<void>& result) {
        if (!result) {
            obstacles.push_back(result.error().message);
        }
    };
    if (function.is_bridge()) {
        return {"a bridge"};
    }
    if (!function.iommu_group) {
        obstacles.emplace_back("behind no IOMMU");
    } else {
        note(check_group(host, function, {}));
    }
    note(check_virtual_functions(host, function));
    const SlotText self{.address = function.address};
    note(check_line(host, function, self, {&self}));
    if (!host.remaps_interrupts()) {
        obstacles.emplace_back("interrupts are not remapped");
    }
    return obstacles;
}

}  // namespace cupule::passthrough
