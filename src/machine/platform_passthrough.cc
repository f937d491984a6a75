#include "machine/platform_passthrough.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/bits.h"
#include "base/log.h"
#include "machine/address_map.h"
#include "memory/page.h"
#include "passthrough/acpi_device.h"
#include "passthrough/host_files.h"
#include "passthrough/host_memory.h"

namespace cupule::machine {
namespace {

using passthrough::HostAcpiDevice;
using passthrough::HostMapping;
using passthrough::HostRange;

constexpr std::string_view tpm_hid = "MSFT0101";

/// Whole pages of the host at whole pages of the guest.
struct Window {
    std::uint64_t guest = 0;
    /// Empty where the hypervisor itself maps it.
    std::optional<HostMapping> mapping{};
    hypervisor::AssignedMemory assigned{};
};

struct PassedDevice {
    HostAcpiDevice device{};
    /// The same as `device.memory`, where the guest has it.
    std::vector<acpi::AddressRange> memory{};
};

std::string option_text(const AcpiPassthroughOptions& option) {
    return fmt::format("--acpidev_pt {}{}{}", option.hid, option.uid.empty() ? "" : ",",
                       option.uid);
}

/// Whether the guest has nothing of its own in whole pages there.
bool is_free(std::uint64_t base, std::uint64_t size, std::uint64_t memory_size) {
    const std::uint64_t high_ram =
        memory_size > low_ram_end_max ? memory_size - low_ram_end_max : 0;
    const auto taken = std::to_array<acpi::AddressRange>(
        {{.base = 0, .size = pci_window_32_end},  // RAM and PCI
         {.base = ecam_base, .size = ecam_size},
         {.base = platform_window_base, .size = platform_window_end - platform_window_base},
         {.base = ioapic_base, .size = memory::page_size},
         {.base = hpet_base, .size = memory::page_size},
         {.base = local_apic_base, .size = mib},
         {.base = high_ram_base, .size = high_ram},
         {.base = pci_window_64_base, .size = pci_window_64_end - pci_window_64_base}});
    return std::ranges::none_of(taken, [&](const acpi::AddressRange& one) {
        return one.size != 0 && one.base < base + size && base < one.base + one.size;
    });
}

acpi::aml::Resource memory_resource(const acpi::AddressRange& range) {
    if (range.base + range.size <= high_ram_base) {
        return acpi::aml::memory32_fixed(acpi::aml::MemoryAccess::read_write,
                                         static_cast<std::uint32_t>(range.base),
                                         static_cast<std::uint32_t>(range.size));
    }
    return acpi::aml::qword_address_space({.kind = acpi::aml::AddressKind::memory,
                                           .usage = acpi::aml::AddressUsage::consumer,
                                           .type_flags = acpi::aml::memory_read_write,
                                           .minimum = range.base,
                                           .maximum = range.base + range.size - 1});
}

/// An id or _UID of the host may be any text; the guest gets letters and digits.
bool is_plain(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    });
}

acpi::aml::Term device_aml(const PassedDevice& passed, std::size_t index) {
    using namespace acpi::aml;
    Term body = name("_HID", string(passed.device.hid));
    if (const auto& others = passed.device.compatible; !others.empty()) {
        std::vector<Term> ids;
        for (const std::string& id : others) {
            if (is_plain(id)) {
                ids.push_back(string(id));
            }
        }
        body += name("_CID", package(ids));
    }
    const std::string& uid = passed.device.uid;
    if (const auto number = passthrough::parse_host_number<std::uint64_t>(uid, 10)) {
        body += name("_UID", integer(*number));
    } else {
        body += name("_UID", is_plain(uid) ? string(uid) : integer(index));
    }
    std::vector<Resource> resources;
    for (const acpi::AddressRange& range : passed.memory) {
        resources.push_back(memory_resource(range));
    }
    body += name("_CRS", resource_template(resources));
    return device(fmt::format("PT{:02X}", index), body);
}

}  // namespace

struct PlatformPassthrough::Impl {
    explicit Impl(hypervisor::Vm& machine, PlatformHost where, std::uint64_t ram)
        : vm(machine), host(std::move(where)), memory_size(ram) {}
    ~Impl() {
        for (const Window& window : windows) {
            if (!window.mapping) {
                vm.device_assigner()->deassign_memory(window.assigned);
            } else if (const auto done = vm.unmap({window.guest}); !done) {
                base::log_warning("{}", done.error().message);
            }
        }
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    base::Result<void> add_acpi(const AcpiPassthroughOptions& option);
    base::Result<void> add_memory(const MmioPassthroughOptions& option);
    base::Result<std::uint64_t> add_window(const std::string& name, std::uint64_t base,
                                           std::uint64_t size, bool may_stay);
    base::Result<Window> open_window(const hypervisor::AssignedMemory& memory);
    base::Result<void> add_tpm_table(const PassedDevice& tpm);

    hypervisor::Vm& vm;
    const PlatformHost host;
    const std::uint64_t memory_size;
    std::vector<HostRange> map;
    std::uint64_t next_free = platform_window_base;
    std::vector<Window> windows;
    std::vector<PassedDevice> devices;
    std::vector<acpi::AddressRange> reserved;
    std::vector<acpi::Table> tables;
};

base::Result<Window> PlatformPassthrough::Impl::open_window(
    const hypervisor::AssignedMemory& memory) {
    if (hypervisor::DeviceAssigner* const assigner = vm.device_assigner()) {
        CUPULE_TRY(assigner->assign_memory(memory));
        return Window{.guest = memory.guest.value, .mapping = std::nullopt, .assigned = memory};
    }
    CUPULE_TRY_ASSIGN(HostMapping mapping,
                      HostMapping::map(memory.host, memory.size, host.memory_path));
    CUPULE_TRY(
        vm.map(memory.guest, memory.size, mapping.data(), hypervisor::MemoryAccess::read_write));
    return Window{.guest = memory.guest.value, .mapping = std::move(mapping), .assigned = memory};
}

/// Where the guest has the first byte of [base, base + size) of the host.
base::Result<std::uint64_t> PlatformPassthrough::Impl::add_window(const std::string& name,
                                                                  std::uint64_t base,
                                                                  std::uint64_t size,
                                                                  bool may_stay) {
    const std::uint64_t first = base::align_down(base, memory::page_size);
    const std::uint64_t whole = base::align_up(base + size, memory::page_size) - first;
    const bool stays = may_stay && is_free(first, whole, memory_size);
    const std::uint64_t guest = stays ? first : next_free;
    if (!stays) {
        if (whole > platform_window_end - next_free) {
            return base::fail(
                "{:#x} bytes do not fit: the guest has [{:#x}, {:#x}) for all of "
                "them, and {:#x} bytes of it are left",
                whole, platform_window_base, platform_window_end, platform_window_end - next_free);
        }
        next_free += whole;
    }
    CUPULE_TRY_ASSIGN(Window window,
                      open_window({.name = name, .guest = {guest}, .host = first, .size = whole}));
    windows.push_back(std::move(window));
    return guest + (base - first);
}

base::Result<void> PlatformPassthrough::Impl::add_acpi(const AcpiPassthroughOptions& option) {
    CUPULE_TRY_ASSIGN(HostAcpiDevice device,
                      passthrough::find_acpi_device(option.hid, option.uid, host.root));
    CUPULE_TRY(passthrough::check_acpi_device(device, map));
    if (std::ranges::any_of(
            devices, [&](const PassedDevice& other) { return other.device.name == device.name; })) {
        return base::fail("{} is asked for twice", device.name);
    }
    if (!is_plain(device.hid)) {
        return base::fail("the hardware id '{}' of {} is none that ACPI allows", device.hid,
                          device.name);
    }
    if (device.has_interrupts || device.has_ports) {
        base::log_warning("{}: its {} stay with the host; the guest gets its memory", device.name,
                          device.has_ports ? "I/O ports and interrupts" : "interrupts");
    }
    PassedDevice passed{.device = std::move(device)};
    for (const HostRange& range : passed.device.memory) {
        CUPULE_TRY_ASSIGN(const std::uint64_t guest,
                          add_window(passed.device.hid, range.base, range.size, true));
        passed.memory.push_back({.base = guest, .size = range.size});
    }
    if (passed.device.hid == tpm_hid ||
        std::ranges::find(passed.device.compatible, tpm_hid) != passed.device.compatible.end()) {
        CUPULE_TRY(add_tpm_table(passed));
    }
    devices.push_back(std::move(passed));
    return {};
}

base::Result<void> PlatformPassthrough::Impl::add_tpm_table(const PassedDevice& tpm) {
    for (std::size_t i = 0; i < tpm.memory.size(); ++i) {
        if (tpm.memory[i].base != tpm.device.memory[i].base) {
            return base::fail(
                "{}: a TPM's registers name their own address, {:#x}, and this "
                "guest has something else there",
                tpm.device.name, tpm.device.memory[i].base);
        }
    }
    const std::string path = host.root + "/sys/firmware/acpi/tables/TPM2";
    const std::string text = passthrough::read_host_bytes(path);
    if (text.empty()) {
        return base::fail("{}: the host has no TPM2 table, or does not show it: run as root ({})",
                          tpm.device.name, path);
    }
    CUPULE_TRY_ASSIGN(acpi::Table table, make_passed_tpm_table({text.begin(), text.end()}));
    tables.push_back(std::move(table));
    return {};
}

base::Result<void> PlatformPassthrough::Impl::add_memory(const MmioPassthroughOptions& option) {
    CUPULE_TRY(passthrough::check_memory_range(option.base, option.size, map));
    CUPULE_TRY_ASSIGN(const std::uint64_t guest,
                      add_window("mmio", option.base, option.size, false));
    base::log(base::LogLevel::notice, "--mmiodev_pt {:x},{:x}: the guest has it at {:#x}",
              option.base, option.size, guest);
    const std::uint64_t first = base::align_down(guest, memory::page_size);
    reserved.push_back(
        {.base = first, .size = base::align_up(guest + option.size, memory::page_size) - first});
    return {};
}

PlatformPassthrough::PlatformPassthrough(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PlatformPassthrough::~PlatformPassthrough() = default;

base::Result<std::unique_ptr<PlatformPassthrough>> PlatformPassthrough::create(
    const VmOptions& options, hypervisor::Vm& vm, PlatformHost host) {
    auto impl = std::make_unique<Impl>(vm, std::move(host), options.memory_size);
    const bool wanted = !options.acpi_passthrough.empty() || !options.mmio_passthrough.empty();
    if (wanted) {
        CUPULE_TRY_ASSIGN(impl->map, passthrough::read_host_memory_map(impl->host.root));
    }
    for (const AcpiPassthroughOptions& option : options.acpi_passthrough) {
        if (auto added = impl->add_acpi(option); !added) {
            return std::unexpected(added.error().in(option_text(option)));
        }
    }
    for (const MmioPassthroughOptions& option : options.mmio_passthrough) {
        if (auto added = impl->add_memory(option); !added) {
            return std::unexpected(
                added.error().in(fmt::format("--mmiodev_pt {:x},{:x}", option.base, option.size)));
        }
    }
    return std::unique_ptr<PlatformPassthrough>(new PlatformPassthrough(std::move(impl)));
}

std::vector<acpi::AmlContribution> PlatformPassthrough::contributions() const {
    std::vector<acpi::AmlContribution> all;
    for (std::size_t i = 0; i < impl_->devices.size(); ++i) {
        all.push_back(
            {.place = acpi::AmlPlace::system_bus, .aml = device_aml(impl_->devices[i], i)});
    }
    return all;
}

std::vector<acpi::AddressRange> PlatformPassthrough::reserved() const {
    return impl_->reserved;
}

std::vector<acpi::Table> PlatformPassthrough::tables() const {
    return impl_->tables;
}

base::Result<acpi::Table> make_passed_tpm_table(std::vector<std::uint8_t> bytes) {
    constexpr std::size_t length_at = 4;
    constexpr std::size_t checksum_at = 9;
    constexpr std::size_t start_method_at = 48;
    constexpr std::size_t size_without_log = 64;
    const auto load = [&](std::size_t at) {
        return std::uint32_t{bytes[at]} | std::uint32_t{bytes[at + 1]} << 8 |
               std::uint32_t{bytes[at + 2]} << 16 | std::uint32_t{bytes[at + 3]} << 24;
    };
    const auto sum = [&] { return std::accumulate(bytes.begin(), bytes.end(), 0U) & 0xFF; };
    if (bytes.size() < start_method_at + 4 || load(length_at) != bytes.size() || sum() != 0 ||
        !std::equal(bytes.begin(), bytes.begin() + 4, "TPM2")) {
        return base::fail("the host's TPM2 table is damaged");
    }
    // 6: memory mapped FIFO, 7: command response buffer; others need methods of the host's DSDT.
    const std::uint32_t method = load(start_method_at);
    if (method != 6 && method != 7) {
        return base::fail(
            "the host's TPM starts commands by method {} of its TPM2 table; 6 and 7 "
            "can be passed through",
            method);
    }
    bytes.resize(std::min(bytes.size(), size_without_log));
    bytes[length_at] = static_cast<std::uint8_t>(bytes.size());
    bytes[length_at + 1] = 0;
    bytes[length_at + 2] = 0;
    bytes[length_at + 3] = 0;
    bytes[checksum_at] = 0;
    bytes[checksum_at] = static_cast<std::uint8_t>(0x100 - sum());
    return acpi::Table{.name = "TPM2", .bytes = std::move(bytes)};
}

}  // namespace cupule::machine
