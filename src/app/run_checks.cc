#include "app/run_checks.h"

#include <algorithm>

#include "app/exit_codes.h"
#include "app/nearest.h"
#include "base/text.h"
#include "control/manager_directory.h"
#include "machine/device_catalogue.h"
#include "passthrough/slot_options.h"
#include "passthrough/software_models.h"

namespace cupule::app {
namespace {

using machine::DeviceInfo;
using machine::DeviceStatus;

std::string existing_devices() {
    std::vector<std::string> names;
    for (const DeviceInfo& device : machine::device_catalogue()) {
        if (device.status == DeviceStatus::exists) {
            names.emplace_back(device.name);
        }
    }
    return base::join(names);
}

std::string suggest_device(std::string_view name) {
    std::vector<std::string_view> names;
    for (const DeviceInfo& device : machine::device_catalogue()) {
        names.push_back(device.name);
    }
    return suggestion(name, names);
}

std::string place_text(const SlotOptions& slot) {
    return slot.bus == 0 ? fmt::format("{}:{}", slot.slot, slot.function)
                         : fmt::format("{}:{}:{}", slot.bus, slot.slot, slot.function);
}

/// False for an obsolete device, which is left out.
bool check_device(const SlotOptions& slot, Problems& problems) {
    const DeviceInfo* device = machine::find_device(slot.device);
    const std::string option =
        fmt::format("option -s/--pci_slot '{},{}'", place_text(slot), slot.device);
    if (device == nullptr) {
        problems.error(exit_failure, "{}: no device '{}' is known{}; this build has {}", option,
                       slot.device, suggest_device(slot.device), existing_devices());
        return true;
    }
    switch (device->status) {
        case DeviceStatus::obsolete:
            problems.warning("{}: the device '{}' ({}) is obsolete and ignored", option,
                             slot.device, device->description);
            return false;
        case DeviceStatus::planned:
            problems.error(exit_failure,
                           "{}: the device '{}' ({}) is not part of this build; it has {}", option,
                           slot.device, device->description, existing_devices());
            return true;
        case DeviceStatus::exists:
            if (device->options.empty() && !slot.options.empty()) {
                problems.error(exit_failure, "{}: '{}' takes no options, but has '{}'", option,
                               slot.device, slot.options);
            }
            return true;
    }
    return true;
}

bool same_place(const SlotOptions& left, const SlotOptions& right) {
    return left.bus == right.bus && left.slot == right.slot && left.function == right.function;
}

void check_places(const std::vector<SlotOptions>& slots, Problems& problems) {
    for (std::size_t i = 0; i < slots.size(); ++i) {
        const SlotOptions& slot = slots[i];
        if (slot.bus != 0) {
            problems.error(exit_failure,
                           "option -s/--pci_slot '{},{}': there is no bus {}, only bus 0",
                           place_text(slot), slot.device, slot.bus);
        }
        const auto earlier = slots.begin() + static_cast<std::ptrdiff_t>(i);
        const auto twin = std::find_if(slots.begin(), earlier, [&slot](const SlotOptions& other) {
            return same_place(slot, other);
        });
        if (twin != earlier) {
            problems.error(exit_failure, "option -s/--pci_slot '{},{}': the place is taken by '{}'",
                           place_text(slot), slot.device, twin->device);
        }
        const auto same_slot = [&slot](const SlotOptions& other) {
            return slot.bus == other.bus && slot.slot == other.slot;
        };
        const bool first_of_slot = std::find_if(slots.begin(), earlier, same_slot) == earlier;
        const bool has_function_0 = std::ranges::any_of(slots, [&](const SlotOptions& other) {
            return same_slot(other) && other.function == 0;
        });
        if (first_of_slot && !has_function_0) {
            problems.error(exit_failure,
                           "option -s/--pci_slot '{},{}': slot {} has no function 0, so that no "
                           "guest looks for function {}; begin with {}:0",
                           place_text(slot), slot.device, slot.slot, slot.function, slot.slot);
        }
    }
}

/// What can be said of passed-through devices without a look at the host.
void check_passthrough(const VmOptions& options, Problems& problems) {
    std::vector<passthrough::HostAddress> seen;
    for (const SlotOptions& slot : options.slots) {
        if (slot.device != "passthru") {
            continue;
        }
        const std::string option =
            fmt::format("option -s/--pci_slot '{},{}'", place_text(slot), slot.device);
        const auto text = passthrough::parse_slot_text(slot.options);
        if (!text) {
            problems.error(exit_failure, "{}: {}", option, text.error().message);
        } else if (!text->address) {
            if (!passthrough::find_software_model(text->model)) {
                problems.error(exit_failure, "{}: there is no model '{}'; there are {}", option,
                               text->model, passthrough::software_model_names());
            }
        } else if (std::ranges::find(seen, *text->address) != seen.end()) {
            problems.error(exit_failure, "{}: {} is asked for twice", option,
                           text->address->text());
        } else {
            seen.push_back(*text->address);
        }
    }
}

std::size_t count_device(const VmOptions& options, std::string_view name) {
    return static_cast<std::size_t>(std::ranges::count(options.slots, name, &SlotOptions::device));
}

}  // namespace

void check_name(const VmOptions& options, Problems& problems) {
    const std::string& name = options.name;
    if (name.size() > vm_name_length_max) {
        problems.error(exit_failure, "the name '{}' has {} characters: 1 to {} are allowed", name,
                       name.size(), vm_name_length_max);
    }
    const bool has_bad_character = std::ranges::any_of(
        name, [](char c) { return c == '/' || (c >= 0 && c < ' ') || c == '\x7f'; });
    if (has_bad_character || name == "." || name == "..") {
        problems.error(exit_failure,
                       "the name '{}' cannot be part of a file name: leave out slashes and "
                       "control characters",
                       name);
    }
}

void check_cpus(VmOptions& options, const CpuWish& wish, const HostQueries& host,
                Problems& problems) {
    options.vcpu_count = wish.count.value_or(1);
    if (wish.lapic_ids.empty()) {
        return;
    }
    const HostCpus cpus = host.cpus();
    for (const std::uint32_t id : wish.lapic_ids) {
        const auto cpu = cpus.find(id);
        if (!cpu) {
            problems.error(exit_bad_value,
                           "option --cpu_affinity: no processor has the local APIC id {}: this "
                           "host has {}",
                           id, cpus.known_ids());
        } else if (!cpu->host_cpu && options.hypervisor != Hypervisor::acrn) {
            problems.error(exit_bad_value,
                           "option --cpu_affinity: the processor with the local APIC id {} is "
                           "offline; bring it up in /sys/devices/system/cpu",
                           id);
        } else {
            options.cpu_affinity.push_back(*cpu);
        }
    }
    const auto count = static_cast<unsigned>(wish.lapic_ids.size());
    if (wish.count && *wish.count != count) {
        problems.error(exit_bad_value,
                       "option --cpus {} does not fit to --cpu_affinity, which names {}; leave "
                       "one of the two out",
                       *wish.count, count);
    }
    options.vcpu_count = count;
}

void check_boot(const VmOptions& options, Problems& problems) {
    const bool has_kernel = !options.kernel.empty();
    if (!options.firmware && !has_kernel && options.elf_file.empty()) {
        problems.error(
            exit_failure,
            "there is nothing to boot: give a kernel (-k FILE) or an ELF file (-E FILE)");
    }
    if (!has_kernel && !options.ramdisk.empty()) {
        problems.warning("option -r/--ramdisk has no effect without -k/--kernel");
    }
    if (has_kernel && !options.elf_file.empty()) {
        problems.warning("option -E/--elf_file has no effect beside -k/--kernel");
    }
}

void check_slots(VmOptions& options, Problems& problems) {
    std::erase_if(options.slots,
                  [&problems](const SlotOptions& slot) { return !check_device(slot, problems); });
    check_places(options.slots, problems);
    check_passthrough(options, problems);
    if (count_device(options, "lpc") > 1) {
        problems.error(exit_failure, "option -s/--pci_slot: a machine has one lpc device, not {}",
                       count_device(options, "lpc"));
    }
    if (!options.slots.empty() && count_device(options, "hostbridge") == 0 &&
        count_device(options, "amd_hostbridge") == 0) {
        problems.warning(
            "no -s names a hostbridge: some guests look for no PCI devices without one; "
            "'-s 0:0,hostbridge' adds it");
    }
}

void check_serial_ports(const VmOptions& options, const HostQueries& host, Problems& problems) {
    std::vector<unsigned> seen;
    unsigned stdio_users = 0;
    for (const SerialOptions& serial : options.serial_ports) {
        const std::string option = fmt::format("option -l/--lpc 'com{}'", serial.port);
        if (std::ranges::find(seen, serial.port) != seen.end()) {
            problems.error(exit_bad_value, "{}: the port is there already", option);
        }
        seen.push_back(serial.port);
        stdio_users += serial.backend == "stdio" ? 1U : 0U;
        if (serial.backend.empty()) {
            continue;
        }
        const auto checked = host.check_channel(serial.backend);
        if (!checked) {
            problems.error(exit_bad_value, "{}: {}", option, checked.error().message);
        }
    }
    if (stdio_users > 1) {
        problems.error(exit_bad_value,
                       "option -l/--lpc: {} ports want stdio, one can have it; use pty, tcp:PORT "
                       "or unix:PATH",
                       stdio_users);
    }
    if (options.serial_ports.empty()) {
        problems.warning(
            "no -l names a serial port, and this build has no other console: what the guest prints "
            "is lost; '-s 1:0,lpc -l com1,stdio' shows it here");
    }
    if (!options.serial_ports.empty() && count_device(options, "lpc") == 0) {
        problems.error(exit_failure, "option -l/--lpc needs the lpc device: add '-s 1:0,lpc'");
    }
}

void check_life_cycle(VmOptions& options, Problems& problems) {
    if (!options.hsm_device.empty() && options.hypervisor != Hypervisor::acrn) {
        problems.error(exit_bad_value,
                       "option --hsm '{}' needs '--hypervisor acrn': KVM has no service module",
                       options.hsm_device);
    }
    if (options.interrupt_monitor && options.hypervisor != Hypervisor::acrn &&
        count_device(options, "passthru") == 0) {
        problems.warning(
            "option --intr_monitor has no effect: no -s passes a device through, and KVM's other "
            "interrupts are not counted");
    }
    if (options.realtime && options.hypervisor != Hypervisor::acrn &&
        options.cpu_affinity.empty()) {
        problems.warning(
            "option --rtvm: the guest keeps its processors even while it has nothing to do; "
            "--cpu_affinity gives it processors of its own");
    }
    // No warning of its own: the schema has one for --lapic_pt on KVM.
    options.lapic_passthrough = options.lapic_passthrough && options.realtime;
}

void place_manager_socket(const std::string& wish, bool as_acrn_dm, VmOptions& options) {
    options.manager_required = !wish.empty() && wish != "off";
    if (options.manager_required) {
        options.manager_directory = wish;
    } else if (wish.empty() && (as_acrn_dm || options.hypervisor == Hypervisor::acrn)) {
        options.manager_directory = control::acrn_manager_directory;
    }
}

}  // namespace cupule::app
