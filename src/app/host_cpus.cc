#include "app/host_cpus.h"

#include <algorithm>

#include "app/files.h"
#include "app/option_values.h"
#include "base/text.h"

namespace cupule::app {
namespace {

std::string_view trimmed(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) {
        return {};
    }
    return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// The "processor" and "apicid" lines of cpuinfo.
std::vector<PinnedCpu> online_cpus(std::string_view cpuinfo) {
    std::vector<PinnedCpu> cpus;
    std::optional<unsigned> processor;
    for (const std::string_view line : base::split(cpuinfo, '\n')) {
        const auto [key, text] = base::cut(line, ':');
        const std::string_view name = trimmed(key);
        if (name != "processor" && name != "apicid") {
            continue;
        }
        const auto number = parse_number(trimmed(text), 0, 0xFFFFFFFE);
        if (!number) {
            continue;
        }
        if (name == "processor") {
            processor = static_cast<unsigned>(*number);
        } else if (processor) {
            cpus.push_back({.lapic_id = static_cast<std::uint32_t>(*number),
                            .host_cpu = processor,
                            .acrn_pcpu = static_cast<unsigned>(cpus.size())});
            processor.reset();
        }
    }
    return cpus;
}

std::uint32_t little_endian_32(std::span<const std::uint8_t> bytes, std::size_t offset) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i > 0; --i) {
        value = value << 8 | bytes[offset + i - 1];
    }
    return value;
}

/// The local APIC ids of the usable processors (ACPI 6.5, 5.2.12.2 and 5.2.12.12).
std::vector<std::uint32_t> madt_ids(std::span<const std::uint8_t> madt) {
    constexpr std::size_t entries_offset = 44;
    constexpr std::uint8_t local_apic = 0;
    constexpr std::uint8_t local_x2apic = 9;
    constexpr std::uint32_t enabled_or_online_capable = 3;
    std::vector<std::uint32_t> ids;
    std::size_t offset = entries_offset;
    while (offset + 2 <= madt.size()) {
        const std::uint8_t type = madt[offset];
        const std::size_t length = madt[offset + 1];
        if (length < 2 || length > madt.size() - offset) {
            break;
        }
        if (type == local_apic && length >= 8 &&
            (little_endian_32(madt, offset + 4) & enabled_or_online_capable) != 0) {
            ids.push_back(madt[offset + 3]);
        } else if (type == local_x2apic && length >= 16 &&
                   (little_endian_32(madt, offset + 8) & enabled_or_online_capable) != 0) {
            ids.push_back(little_endian_32(madt, offset + 4));
        }
        offset += length;
    }
    return ids;
}

}  // namespace

HostCpus HostCpus::parse(std::string_view cpuinfo, std::span<const std::uint8_t> madt) {
    HostCpus host;
    const std::vector<PinnedCpu> online = online_cpus(cpuinfo);
    for (const std::uint32_t id : madt_ids(madt)) {
        const auto found = std::ranges::find(online, id, &PinnedCpu::lapic_id);
        host.cpus_.push_back(
            {.lapic_id = id,
             .host_cpu = found != online.end() ? found->host_cpu : std::optional<unsigned>{},
             .acrn_pcpu = static_cast<unsigned>(host.cpus_.size())});
    }
    // A MADT that does not know a processor Linux runs on is not about this machine.
    const bool madt_fits = std::ranges::all_of(
        online, [&host](const PinnedCpu& cpu) { return host.find(cpu.lapic_id).has_value(); });
    if (!madt_fits) {
        host.cpus_ = online;
    }
    return host;
}

HostCpus HostCpus::read() {
    const std::string cpuinfo = read_file("/proc/cpuinfo").value_or("");
    const std::string madt = read_file("/sys/firmware/acpi/tables/APIC").value_or("");
    const std::vector<std::uint8_t> bytes(madt.begin(), madt.end());
    return parse(cpuinfo, bytes);
}

std::optional<PinnedCpu> HostCpus::find(std::uint32_t lapic_id) const {
    const auto found = std::ranges::find(cpus_, lapic_id, &PinnedCpu::lapic_id);
    return found != cpus_.end() ? std::optional(*found) : std::nullopt;
}

std::string HostCpus::known_ids() const {
    std::vector<std::string> ids;
    for (const PinnedCpu& cpu : cpus_) {
        ids.push_back(std::to_string(cpu.lapic_id));
    }
    return base::join(ids);
}

}  // namespace cupule::app
