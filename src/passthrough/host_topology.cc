#include "passthrough/host_topology.h"

#include <dirent.h>
#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>

#include "passthrough/host_files.h"
#include "pci/config_registers.h"

namespace cupule::passthrough {
namespace {

constexpr unsigned capabilities_max = 48;
/// Below are the inputs of the 8259s, the numbers that firmware leaves in a register.
constexpr unsigned isa_interrupts = 16;

std::uint32_t read_hex(const std::string& path) {
    return parse_host_number<std::uint32_t>(read_host_text(path), 16).value_or(0);
}

/// The port above: the directory before the last of the device's real place.
std::optional<HostAddress> upstream_of(const std::string& path) {
    const std::string link = host_link(path);
    const std::string_view above = std::string_view(link).substr(0, link.rfind('/'));
    return HostAddress::parse(base::after_last(above, '/'));
}

/// A virtual function's ids read as ones, and its pin has no meaning (Single Root I/O
/// Virtualization 1.1, 3.4.1.1, 3.4.1.2 and 3.4.1.18): what reads its configuration space finds
/// what the kernel knows, as with VFIO.
void mend_virtual_function(HostFunction& function) {
    if (function.config.size() < pci::config::header_end) {
        return;
    }
    const auto put = [&](std::uint16_t offset, std::uint16_t value) {
        function.config[offset] = static_cast<std::uint8_t>(value);
        function.config[offset + 1U] = static_cast<std::uint8_t>(value >> 8);
    };
    put(pci::config::vendor_id, function.vendor);
    put(pci::config::device_id, function.device);
    function.config[pci::config::interrupt_pin] = 0;
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
    /// Inputs of an IOAPIC by Linux interrupt.
    std::map<unsigned, unsigned> inputs{};
    /// The first GSI of each IOAPIC; empty: not known.
    std::vector<unsigned> ioapics{};
    bool remapped = false;
};

/// The Interrupt Controller Structures of type 1 (ACPI 6.5, 5.2.12.3).
std::vector<unsigned> read_ioapics(const std::string& path) {
    constexpr std::size_t first_structure = 44;
    constexpr std::size_t ioapic_length = 12;
    const std::string table = read_host_bytes(path);
    const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(table[at]); };
    std::vector<unsigned> bases;
    std::size_t at = first_structure;
    while (at + 2 <= table.size() && byte(at + 1) >= 2 && at + byte(at + 1) <= table.size()) {
        if (byte(at) == 1 && byte(at + 1) >= ioapic_length) {
            bases.push_back(unsigned{byte(at + 8)} | unsigned{byte(at + 9)} << 8 |
                            unsigned{byte(at + 10)} << 16 | unsigned{byte(at + 11)} << 24);
        }
        at += byte(at + 1);
    }
    return bases;
}

/// /proc/interrupts names the input but not the IOAPIC. Where there are several, the number of the
/// interrupt tells them apart, if anything does: on the one with the ISA interrupts Linux takes the
/// GSI's number from 16 on, on the others one above all GSIs (arch/x86/kernel/apic/io_apic.c,
/// alloc_irq_from_domain).
std::optional<unsigned> gsi_of(unsigned irq, const InterruptTable& table) {
    const auto found = table.inputs.find(irq);
    if (found == table.inputs.end()) {
        return std::nullopt;
    }
    const unsigned input = found->second;
    if (table.ioapics.size() == 1) {
        return table.ioapics[0] + input;
    }
    if (irq == input) {
        return input;
    }
    std::vector<unsigned> possible;
    for (const unsigned base : table.ioapics) {
        const unsigned gsi = base + input;
        if (base < isa_interrupts ? gsi < isa_interrupts : gsi < irq) {
            possible.push_back(gsi);
        }
    }
    return possible.size() == 1 ? std::optional(possible[0]) : std::nullopt;
}

/// Lines like " 16:  1  0  IR-IO-APIC  16-fasteoi   ehci_hcd".
InterruptTable read_interrupts(const std::string& root) {
    InterruptTable table{.ioapics = read_ioapics(root + "/sys/firmware/acpi/tables/APIC")};
    const std::string text = read_host_bytes(root + "/proc/interrupts");
    for (std::string_view rest = text; !rest.empty();) {
        const std::string_view line = next_line(rest);
        const std::size_t colon = line.find(':');
        const std::size_t chip = line.find("IO-APIC");
        table.remapped |= line.find(" IR-") != std::string::npos;
        if (colon == std::string::npos || chip == std::string::npos) {
            continue;
        }
        const std::size_t number = line.find_first_not_of(' ');
        const auto irq = parse_host_number<unsigned>(line.substr(number, colon - number), 10);
        const std::size_t at = line.find_first_not_of(' ', chip + 7);
        if (!irq || at == std::string::npos) {
            continue;
        }
        const auto input =
            parse_host_number<unsigned>(line.substr(at, line.find('-', at) - at), 10);
        if (input) {
            table.inputs[*irq] = *input;
        }
    }
    return table;
}

/// As HostFunction::irq. `enable` counts who has enabled the function; the number stays when they
/// have left.
std::optional<unsigned> read_irq(const std::string& path) {
    const auto number = parse_host_number<unsigned>(read_host_text(path + "/irq"), 10).value_or(0);
    const auto users =
        parse_host_number<unsigned>(read_host_text(path + "/enable"), 10).value_or(0);
    const bool routed = number >= isa_interrupts || (number != 0 && users != 0);
    return routed ? std::optional(number) : std::nullopt;
}

HostFunction read_function(const std::string& directory, const HostAddress& address,
                           const InterruptTable& interrupts) {
    HostFunction function{.address = address};
    const std::string path = directory + "/" + address.text();
    const std::string config = read_host_bytes(path + "/config");
    function.config.assign(config.begin(), config.end());
    function.vendor = static_cast<std::uint16_t>(read_hex(path + "/vendor"));
    function.device = static_cast<std::uint16_t>(read_hex(path + "/device"));
    function.class_code = read_hex(path + "/class");
    function.driver = host_link_name(path + "/driver");
    function.iommu_group = parse_host_number<unsigned>(host_link_name(path + "/iommu_group"), 10);
    function.irq = read_irq(path);
    function.upstream = upstream_of(path);
    function.physical = HostAddress::parse(host_link_name(path + "/physfn"));
    if (function.physical) {
        mend_virtual_function(function);
    }
    function.gsi = function.irq ? gsi_of(*function.irq, interrupts) : std::nullopt;
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
        const auto number = parse_host_number<std::uint16_t>(text.substr(0, end), 16);
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
    const InterruptTable interrupts = read_interrupts(root);
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

std::string vfio_character_device(const std::string& root, const HostAddress& address) {
    const std::string directory =
        fmt::format("{}/sys/bus/pci/devices/{}/vfio-dev", root, address.text());
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(opendir(directory.c_str()), closedir);
    while (const dirent* entry = listing ? readdir(listing.get()) : nullptr) {
        if (std::string_view(entry->d_name).starts_with("vfio")) {
            return fmt::format("/dev/vfio/devices/{}", entry->d_name);
        }
    }
    return {};
}

const HostFunction* HostTopology::find(const HostAddress& address) const {
    const auto found = std::ranges::find(functions_, address, &HostFunction::address);
    return found != functions_.end() ? &*found : nullptr;
}

std::vector<const HostFunction*> HostTopology::virtual_functions(
    const HostAddress& physical) const {
    std::vector<const HostFunction*> found;
    for (const HostFunction& function : functions_) {
        if (function.physical == physical) {
            found.push_back(&function);
        }
    }
    return found;
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
