#include "app/probe/probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/files.h"
#include "app/option_values.h"
#include "app/probe/kvm_guest.h"
#include "base/file_descriptor.h"
#include "base/text.h"

namespace cupule::app {
namespace {

constexpr std::string_view firmware_mend =
    "turn on VT-x or AMD-V in the firmware, or nested virtualization where this is a virtual "
    "machine itself; without, `tools/lab/lab` gives a machine that has it";

/// A device node that is opened, and the module that makes it.
Capability device_node(const ProbeHost& host, std::string_view name, const std::string& path,
                       std::string_view module) {
    Capability capability{.name = std::string(name)};
    const int fd = ::open((host.root + path).c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    const int error = errno;
    const base::FileDescriptor file(fd);
    capability.available = static_cast<bool>(file);
    if (capability.available) {
        capability.reason = fmt::format("{} opens", path);
        return capability;
    }
    capability.reason = fmt::format("{}: {}", path, base::errno_text(error));
    capability.mend = error == EACCES || error == EPERM
                          ? fmt::format("run as root, or join the group that owns {}", path)
                          : fmt::format("modprobe {}", module);
    return capability;
}

std::vector<std::string> directory_entries(const std::string& path) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
    if (!directory) {
        return names;
    }
    while (const dirent* entry = ::readdir(directory.get())) {
        const std::string_view name(&entry->d_name[0]);
        if (name != "." && name != "..") {
            names.emplace_back(name);
        }
    }
    std::ranges::sort(names);
    return names;
}

/// A sysfs file that holds one number; nullopt when it is missing.
std::optional<std::uint64_t> number_in(const std::string& path) {
    const auto text = read_file(path);
    if (!text) {
        return std::nullopt;
    }
    const auto number = parse_number(base::cut(*text, '\n').first, 0, ~std::uint64_t{0});
    return number ? std::optional(*number) : std::nullopt;
}

/// "vmx", "svm" or nothing.
std::string virtualization_flag(const ProbeHost& host) {
    const std::string cpuinfo = read_file(host.root + "/proc/cpuinfo").value_or("");
    for (const std::string_view line : base::split(cpuinfo, '\n')) {
        if (!line.starts_with("flags")) {
            continue;
        }
        for (const std::string_view flag : base::split(line, ' ')) {
            if (flag == "vmx" || flag == "svm") {
                return std::string(flag);
            }
        }
        break;
    }
    return {};
}

Capability probe_acrn(const ProbeHost& host) {
    Capability hsm = device_node(host, "acrn-hsm", "/dev/acrn_hsm", "acrn");
    if (!hsm.available) {
        Capability vhm = device_node(host, "acrn-hsm", "/dev/acrn_vhm", "acrn");
        if (vhm.available) {
            return vhm;
        }
        hsm.mend = "boot this system as the Service VM of the ACRN hypervisor";
    }
    return hsm;
}

Capability probe_iommu(const ProbeHost& host) {
    const std::size_t groups = directory_entries(host.root + "/sys/kernel/iommu_groups").size();
    const std::vector<std::string> units = directory_entries(host.root + "/sys/class/iommu");
    Capability capability{.name = "iommu", .available = groups > 0};
    if (capability.available) {
        capability.reason = fmt::format("{} groups behind {}", groups, base::join(units));
        return capability;
    }
    capability.reason =
        units.empty() ? "/sys/class/iommu is empty" : "/sys/kernel/iommu_groups is empty";
    capability.mend = "turn on VT-d or AMD-Vi in the firmware and boot with intel_iommu=on";
    return capability;
}

Capability probe_interrupt_remapping(const ProbeHost& host) {
    Capability capability{.name = "interrupt-remapping"};
    // Linux names the interrupt chips that stand behind a remapping unit IR-IO-APIC, IR-PCI-MSI...
    const std::string interrupts = read_file(host.root + "/proc/interrupts").value_or("");
    if (interrupts.find(" IR-") != std::string::npos) {
        capability.available = true;
        capability.reason = "/proc/interrupts shows remapped interrupts";
        return capability;
    }
    // VT-d 4.0, 11.4.3: bit 3 of the extended capability register.
    constexpr std::uint64_t remapping_bit = 1U << 3;
    bool able = false;
    for (const std::string& unit : directory_entries(host.root + "/sys/class/iommu")) {
        const auto text = read_file(host.root + "/sys/class/iommu/" + unit + "/intel-iommu/ecap");
        const auto ecap = text ? parse_number("0x" + std::string(base::cut(*text, '\n').first), 0,
                                              ~std::uint64_t{0})
                               : base::Result<std::uint64_t>(0);
        able = able || (ecap && (*ecap & remapping_bit) != 0);
    }
    capability.reason = able ? "the IOMMU has it, but the kernel does not use it"
                             : "no IOMMU with interrupt remapping";
    capability.mend = able ? "boot without intremap=off, nox2apic and noapic"
                           : "turn on VT-d or AMD-Vi in the firmware";
    return capability;
}

Capability probe_vfio(const ProbeHost& host) {
    Capability capability = device_node(host, "vfio", "/dev/vfio/vfio", "vfio-pci");
    if (!capability.available) {
        return capability;
    }
    std::size_t groups = 0;
    for (const std::string& name : directory_entries(host.root + "/dev/vfio")) {
        groups += name != "vfio" && name != "devices" ? 1U : 0U;
    }
    capability.reason += fmt::format(", {} group{} bound", groups, groups == 1 ? "" : "s");
    return capability;
}

Capability probe_huge_pages(const ProbeHost& host) {
    Capability capability{.name = "huge-pages"};
    const std::string directory = "/sys/kernel/mm/hugepages/hugepages-";
    const auto free_2m = number_in(host.root + directory + "2048kB/free_hugepages");
    const auto free_1g = number_in(host.root + directory + "1048576kB/free_hugepages");
    capability.available = free_2m.value_or(0) + free_1g.value_or(0) > 0;
    capability.reason =
        fmt::format("free: {} of 2 MB, {} of 1 GB", free_2m.value_or(0), free_1g.value_or(0));
    if (!capability.available) {
        capability.mend = fmt::format(
            "not required; echo 512 > {}2048kB/nr_hugepages sets 1 GB aside", directory);
    }
    return capability;
}

}  // namespace

ProbeHost this_host() {
    constexpr int timeout_ms = 5000;
    return {.root = "",
            .try_kvm = [](const std::string& device) { return try_kvm_guest(device, timeout_ms); }};
}

Capability probe_kvm_usable(const ProbeHost& host) {
    Capability capability{.name = "kvm-usable"};
    const Capability opens = device_node(host, "kvm", "/dev/kvm", "kvm-intel or kvm-amd");
    const std::string flag = virtualization_flag(host);
    if (!opens.available) {
        capability.reason = opens.reason;
        capability.mend = flag.empty() ? std::string(firmware_mend) : opens.mend;
        return capability;
    }
    const base::Result<void> tried = host.try_kvm(host.root + "/dev/kvm");
    if (!tried) {
        capability.reason = tried.error().message;
    } else if (flag.empty()) {
        capability.reason = "a test guest ran, but /proc/cpuinfo has neither vmx nor svm";
    } else {
        capability.available = true;
        capability.reason = fmt::format("a test guest ran ({})", flag);
        return capability;
    }
    if (!tried && flag.empty()) {
        capability.reason += "; /proc/cpuinfo has neither vmx nor svm";
    }
    capability.mend = firmware_mend;
    return capability;
}

std::vector<Capability> probe(const ProbeHost& host) {
    return {
        device_node(host, "kvm", "/dev/kvm", "kvm-intel or kvm-amd"),
        probe_kvm_usable(host),
        probe_acrn(host),
        probe_vfio(host),
        device_node(host, "iommufd", "/dev/iommu", "iommufd"),
        probe_iommu(host),
        probe_interrupt_remapping(host),
        device_node(host, "vhost-net", "/dev/vhost-net", "vhost_net"),
        device_node(host, "vhost-vsock", "/dev/vhost-vsock", "vhost_vsock"),
        device_node(host, "tun", "/dev/net/tun", "tun"),
        probe_huge_pages(host),
        device_node(host, "cuse", "/dev/cuse", "cuse"),
    };
}

std::string capabilities_text(const std::vector<Capability>& capabilities) {
    std::string text;
    for (const Capability& capability : capabilities) {
        text += fmt::format("{:<20} {:<4} {}\n", capability.name,
                            capability.available ? "yes" : "no", capability.reason);
        if (!capability.available && !capability.mend.empty()) {
            text += fmt::format("{:<25} mend: {}\n", "", capability.mend);
        }
    }
    return text;
}

std::string capabilities_json(const std::vector<Capability>& capabilities) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    nlohmann::ordered_json hypervisor;
    for (const Capability& capability : capabilities) {
        list.push_back({{"name", capability.name},
                        {"available", capability.available},
                        {"reason", capability.reason},
                        {"mend", capability.mend}});
        if (capability.name == "kvm-usable" && capability.available) {
            hypervisor = "kvm";
        }
    }
    const nlohmann::ordered_json document{{"hypervisor", hypervisor}, {"capabilities", list}};
    return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string probe_text() {
    return capabilities_text(probe(this_host()));
}

std::string probe_json() {
    return capabilities_json(probe(this_host()));
}

}  // namespace cupule::app
