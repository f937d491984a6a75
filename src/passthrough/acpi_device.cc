#include "passthrough/acpi_device.h"

#include <dirent.h>
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "base/bits.h"
#include "memory/page.h"
#include "passthrough/host_files.h"

namespace cupule::passthrough {
namespace {

constexpr const char* acpi_devices = "/sys/bus/acpi/devices";

std::vector<std::string> list_directory(const std::string& path) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(opendir(path.c_str()), closedir);
    while (const dirent* entry = listing ? readdir(listing.get()) : nullptr) {
        if (entry->d_name[0] != '.') {
            names.emplace_back(entry->d_name);
        }
    }
    std::ranges::sort(names);
    return names;
}

/// "acpi:MSFT0101:PNP0C31:" without the first word and `hid`.
std::vector<std::string> compatible_ids(const std::string& modalias, std::string_view hid) {
    std::vector<std::string> ids;
    std::string_view rest = base::cut(modalias, ':').second;
    while (!rest.empty()) {
        const std::string_view id = base::take_word(rest, ':');
        if (!id.empty() && id != hid) {
            ids.emplace_back(id);
        }
    }
    return ids;
}

/// The number behind the colon of Linux's names, in hexadecimal.
bool is_instance(std::string_view name, std::string_view number) {
    const auto wanted = parse_host_number<unsigned>(number, 10);
    const auto is = parse_host_number<unsigned>(base::after_last(name, ':'), 16);
    return wanted && wanted == is;
}

HostAcpiDevice read_identity(const std::string& path, std::string name) {
    HostAcpiDevice device{.name = std::move(name), .hid = read_host_text(path + "/hid")};
    device.uid = read_host_text(path + "/uid");
    const std::string modalias = read_host_text(path + "/modalias");
    if (!modalias.empty()) {
        device.compatible = compatible_ids(modalias, device.hid);
    }
    return device;
}

/// Lines like "mem 0xfed00000-0xfed003ff", "io 0x70-0x71", "irq 8" (Linux drivers/pnp/interface.c).
void read_pnp_resources(const std::string& text, HostAcpiDevice& device) {
    for (std::string_view rest = text; !rest.empty();) {
        const std::string_view line = next_line(rest);
        const std::size_t blank = std::min(line.find(' '), line.size());
        const std::string_view kind = line.substr(0, blank);
        const std::string_view range = line.substr(std::min(blank + 1, line.size()));
        device.has_ports |= kind == "io" && range != "disabled";
        device.has_interrupts |= kind == "irq" && range != "disabled";
        const std::size_t dash = range.find('-');
        if (kind != "mem" || dash == std::string_view::npos) {
            continue;
        }
        const auto first = parse_host_number<std::uint64_t>(range.substr(0, dash), 16);
        const auto last = parse_host_number<std::uint64_t>(range.substr(dash + 1), 16);
        if (first && last && *last >= *first && *last < physical_address_end) {
            device.memory.push_back(
                {.base = *first, .size = *last - *first + 1, .name = device.name});
        }
    }
}

/// What /proc/iomem or /proc/ioports say belongs to one of `names`; ranges within one another once.
std::vector<HostRange> owned_ranges(const std::vector<HostRange>& map,
                                    const std::vector<std::string>& names) {
    std::vector<HostRange> owned;
    for (const HostRange& range : map) {
        const bool own = std::ranges::find(names, range.name) != names.end();
        const bool known =
            std::ranges::any_of(owned, [&](const HostRange& other) { return other.holds(range); });
        if (own && !known) {
            owned.push_back(range);
        }
    }
    return owned;
}

void read_driver(const std::string& device_path, const std::string& name, HostAcpiDevice& device) {
    const std::string driver = host_link_name(device_path + "/driver");
    if (!driver.empty() && device.driver.empty()) {
        device.driver = driver;
        const std::string subsystem = host_link_name(device_path + "/subsystem");
        device.driver_path = fmt::format("/sys/bus/{}/drivers/{}", subsystem, driver);
        device.bound_name = name;
    }
}

base::Result<void> read_resources(const std::string& root, HostAcpiDevice& device) {
    CUPULE_TRY_ASSIGN(const std::vector<HostRange> map, read_host_memory_map(root));
    const std::string path = root + acpi_devices + "/" + device.name;
    const std::string physical = host_link_name(path + "/physical_node");
    read_driver(path, device.name, device);
    read_driver(path + "/physical_node", physical, device);
    const std::string pnp = read_host_text(path + "/physical_node/resources");
    if (!pnp.empty()) {
        read_pnp_resources(pnp, device);
        return {};
    }
    device.memory = owned_ranges(map, {device.name, physical});
    return {};
}

std::string list(const std::vector<HostAcpiDevice>& devices) {
    std::string text;
    for (const HostAcpiDevice& one : devices) {
        text += fmt::format("{}{}{}", text.empty() ? "" : ", ", one.name,
                            one.uid.empty() ? "" : fmt::format(" (_UID {})", one.uid));
    }
    return text;
}

}  // namespace

base::Result<HostAcpiDevice> find_acpi_device(std::string_view hid, std::string_view uid,
                                              const std::string& root) {
    const std::string directory = root + acpi_devices;
    std::vector<HostAcpiDevice> fitting;
    for (const std::string& name : list_directory(directory)) {
        HostAcpiDevice device = read_identity(directory + "/" + name, name);
        if (device.hid == hid ||
            std::ranges::find(device.compatible, hid) != device.compatible.end()) {
            fitting.push_back(std::move(device));
        }
    }
    if (fitting.empty()) {
        return base::fail("this host has no ACPI device '{}'; {} has them all", hid, acpi_devices);
    }
    std::vector<HostAcpiDevice> chosen;
    std::ranges::copy_if(fitting, std::back_inserter(chosen),
                         [&](const HostAcpiDevice& one) { return uid.empty() || one.uid == uid; });
    if (chosen.empty()) {
        std::ranges::copy_if(fitting, std::back_inserter(chosen),
                             [&](const HostAcpiDevice& one) { return is_instance(one.name, uid); });
    }
    if (chosen.size() != 1) {
        return base::fail(
            "'{}{}{}' means {} ACPI devices of this host; there are {}: name the one "
            "by its _UID or its number",
            hid, uid.empty() ? "" : ",", uid, chosen.size(), list(fitting));
    }
    CUPULE_TRY(read_resources(root, chosen.front()));
    return std::move(chosen.front());
}

base::Result<void> check_acpi_device(const HostAcpiDevice& device,
                                     const std::vector<HostRange>& map) {
    if (!device.driver.empty()) {
        return base::fail("{} is in use by the host's driver {}; `echo {} > {}/unbind` takes it",
                          device.name, device.driver, device.bound_name, device.driver_path);
    }
    if (device.memory.empty()) {
        return base::fail(
            "{} has no memory that Linux knows of{}; only memory can be handed to a "
            "guest",
            device.name, device.has_ports ? ", but I/O ports" : "");
    }
    for (const HostRange& range : device.memory) {
        const std::uint64_t first = base::align_down(range.base, memory::page_size);
        const std::uint64_t size = base::align_up(range.last() + 1, memory::page_size) - first;
        CUPULE_TRY(check_memory_range(first, size, map));
        const HostRange pages{.base = first, .size = size, .name = {}};
        for (const HostRange& other : map) {
            const bool around = other.holds(pages) || other.holds(range);
            if (!around && !range.holds(other) && other.overlaps(first, size)) {
                return base::fail(
                    "{} shares a page at {:#x} with {}, which the guest would have "
                    "too",
                    device.name, first, other.name);
            }
        }
    }
    return {};
}

base::Result<void> check_memory_range(std::uint64_t base, std::uint64_t size,
                                      const std::vector<HostRange>& map) {
    if (base >= physical_address_end || size > physical_address_end - base) {
        return base::fail("[{:#x}, {:#x}) is beyond the last physical address, {:#x}", base,
                          base + size, physical_address_end - 1);
    }
    for (const HostRange& range : map) {
        if (range.name == "System RAM" && range.overlaps(base, size)) {
            return base::fail("[{:#x}, {:#x}) is RAM of the host: [{:#x}, {:#x}] is", base,
                              base + size, range.base, range.last());
        }
    }
    return {};
}

}  // namespace cupule::passthrough
