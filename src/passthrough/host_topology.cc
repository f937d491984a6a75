#include "passthrough/host_topology.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <map>
#include <memory>

#include "base/file_descriptor.h"
#include "pci/config_registers.h"

namespace cupule::passthrough {
namespace {

constexpr unsigned capabilities_max = 48;

/// A file of sysfs or proc as far as it can be read, empty where it cannot.
std::string read_bytes(const std::string& path) {
    std::string bytes;
    const auto fd = base::open_file(path, O_RDONLY);
    std::array<char, 4096> buffer{};
    ssize_t count = fd ? ::read(fd->get(), buffer.data(), buffer.size()) : 0;
    while (count > 0) {
        bytes.append(buffer.data(), static_cast<std::size_t>(count));
        count = ::read(fd->get(), buffer.data(), buffer.size());
    }
    return bytes;
}

std::string read_text(const std::string& path) {
    std::string text = read_bytes(path);
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    return text;
}

template <class T>
std::optional<T> parse_number(std::string_view text, int base) {
    if (text.starts_with("0x")) {
        text.remove_prefix(2);
    }
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    const bool whole = error == std::errc{} && end == text.data() + text.size();
    return whole && !text.empty() ? std::optional(value) : std::nullopt;
}

std::uint32_t read_hex(const std::string& path) {
    return parse_number<std::uint32_t>(read_text(path), 16).value_or(0);
}

/// The last part of where a symbolic link leads; empty: there is none.
std::string link_name(const std::string& path) {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t length = readlink(path.c_str(), buffer.data(), buffer.size());
    const std::string_view target(buffer.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    return std::string(target.substr(target.rfind('/') + 1));
}

/// The port above: the directory before the last of the device's real place.
std::optional<HostAddress> upstream_of(const std::string& path) {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t length = readlink(path.c_str(), buffer.data(), buffer.size());
    std::string_view target(buffer.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    target = target.substr(0, target.rfind('/'));
    return HostAddress::parse(target.substr(target.rfind('/') + 1));
}

/// Whether the standard capability list of a configuration space has `id`.
bool has_capability(const std::vector<std::uint8_t>& config, std::uint8_t id) {
    if (config.size() < 256 ||
        (config[pci::config::status] & pci::Status::capabilities_list.mask) == 0) {
        return false;
    }
    std::uint8_t at = config[pci::config::capabilities] & 0xFC;
    for (unsigned i = 0; i < capabilities_max && at >= pci::config::header_end; ++i) {
        if (config[at] == id) {
            return true;
        }
        at = config[at + 1U] & 0xFC;
    }
    return false;
}

struct InterruptTable {
    /// IOAPIC inputs by Linux interrupt.
    std::map<unsigned, unsigned> gsis{};
    bool remapped = false;
};

std::string_view line_at(std::string_view text, std::size_t start) {
    return text.substr(start, std::min(text.find('\n', start), text.size()) - start);
}

/// Lines like " 16:  1  0  IR-IO-APIC  16-fasteoi   ehci_hcd".
InterruptTable read_interrupts(const std::string& path) {
    InterruptTable table;
    const std::string text = read_bytes(path);
    for (std::size_t start = 0; start < text.size();) {
        const std::string_view line = line_at(text, start);
        start += line.size() + 1;
        const std::size_t colon = line.find(':');
        const std::size_t chip = line.find("IO-APIC");
        table.remapped |= line.find(" IR-") != std::string::npos;
        if (colon == std::string::npos || chip == std::string::npos) {
            continue;
        }
        const std::size_t number = line.find_first_not_of(' ');
        const auto irq = parse_number<unsigned>(line.substr(number, colon - number), 10);
        const std::size_t input = line.find_first_not_of(' ', chip + 7);
        if (!irq || input == std::string::npos) {
            continue;
        }
        const auto gsi =
            parse_number<unsigned>(line.substr(input, line.find('-', input) - input), 10);
        if (gsi) {
            table.gsis[*irq] = *gsi;
        }
    }
    return table;
}

HostFunction read_function(const std::string& directory, const HostAddress& address,
                           const InterruptTable& interrupts) {
    HostFunction function{.address = address};
    const std::string path = directory + "/" + address.text();
    const std::string config = read_bytes(path + "/config");
    function.config.assign(config.begin(), config.end());
    function.vendor = static_cast<std::uint16_t>(read_hex(path + "/vendor"));
    function.device = static_cast<std::uint16_t>(read_hex(path + "/device"));
    function.class_code = read_hex(path + "/class");
    function.driver = link_name(path + "/driver");
    function.iommu_group = parse_number<unsigned>(link_name(path + "/iommu_group"), 10);
    function.irq = parse_number<unsigned>(read_text(path + "/irq"), 10).value_or(0);
    function.upstream = upstream_of(path);
    if (const auto found = interrupts.gsis.find(function.irq); found != interrupts.gsis.end()) {
        function.gsi = found->second;
    }
    if (function.config.size() >= pci::config::header_end) {
        function.header_type = function.config[pci::config::header_type];
        function.interrupt_pin = function.config[pci::config::interrupt_pin];
        function.has_msi = has_capability(function.config, pci::capability::msi);
        function.has_msix = has_capability(function.config, pci::capability::msix);
    }
    return function;
}

}  // namespace

std::string HostAddress::text() const {
    return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, device, function);
}

std::optional<HostAddress> HostAddress::parse(std::string_view text) {
    std::vector<std::uint16_t> numbers;
    while (numbers.size() < 4) {
        const std::size_t end = std::min(text.find_first_of("/:."), text.size());
        const auto number = parse_number<std::uint16_t>(text.substr(0, end), 16);
        if (!number || text.starts_with("0x")) {
            return std::nullopt;
        }
        numbers.push_back(*number);
        if (end == text.size()) {
            text = {};
            break;
        }
        text.remove_prefix(end + 1);
    }
    if (!text.empty() || numbers.size() < 3) {
        return std::nullopt;
    }
    if (numbers.size() == 3) {
        numbers.insert(numbers.begin(), std::uint16_t{0});
    }
    if (numbers[1] > 0xFF || numbers[2] > 0x1F || numbers[3] > 7) {
        return std::nullopt;
    }
    return HostAddress{.domain = numbers[0],
                       .bus = static_cast<std::uint8_t>(numbers[1]),
                       .device = static_cast<std::uint8_t>(numbers[2]),
                       .function = static_cast<std::uint8_t>(numbers[3])};
}

base::Result<HostTopology> HostTopology::read(const std::string& root) {
    const std::string directory = root + "/sys/bus/pci/devices";
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(opendir(directory.c_str()), closedir);
    if (!listing) {
        return base::fail_errno(errno, "cannot list '{}': has this host PCI?", directory);
    }
    const InterruptTable interrupts = read_interrupts(root + "/proc/interrupts");
    HostTopology topology;
    topology.remaps_interrupts_ = interrupts.remapped;
    while (const dirent* entry = readdir(listing.get())) {
        if (const auto address = HostAddress::parse(entry->d_name)) {
            topology.functions_.push_back(read_function(directory, *address, interrupts));
        }
    }
    std::ranges::sort(topology.functions_, {}, &HostFunction::address);
    return topology;
}

const HostFunction* HostTopology::find(const HostAddress& address) const {
    const auto found = std::ranges::find(functions_, address, &HostFunction::address);
    return found != functions_.end() ? &*found : nullptr;
}

std::vector<const HostFunction*> HostTopology::group(unsigned number) const {
    std::vector<const HostFunction*> members;
    for (const HostFunction& function : functions_) {
        if (function.iommu_group == number) {
            members.push_back(&function);
        }
    }
    return members;
}

}  // namespace cupule::passthrough
