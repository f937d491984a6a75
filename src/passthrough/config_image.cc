#include "passthrough/config_image.h"

#include <algorithm>
#include <set>

#include "pci/config_registers.h"
#include "pci/msi.h"
#include "pci/power_management.h"

namespace cupule::passthrough {
namespace {

constexpr unsigned standard_capabilities_max = 48;   // 192 bytes of 4 each
constexpr unsigned extended_capabilities_max = 960;  // 3840 bytes of 4 each
constexpr std::uint16_t rest_of_the_gap = 0xFFFF;
constexpr std::uint16_t vendor_length_offset = 2;

std::uint16_t msi_length(const ConfigReader& read, std::uint16_t at) {
    const std::uint64_t control = read(at + 2ULL, 2);
    return static_cast<std::uint16_t>(pci::Msi::length(
        {.is_64_bit = (control & 0x80) != 0, .per_vector_masking = (control & 0x100) != 0}));
}

std::uint16_t express_length(const ConfigReader& read, std::uint16_t at) {
    // PCI Express Base 3.1, 7.8: version 2 has all registers, version 1 those that its port needs.
    const std::uint64_t version = read(at + 2ULL, 2) & 0xF;
    return version >= 2 ? 0x3C : 0x14;
}

std::uint16_t standard_length(const ConfigReader& read, std::uint16_t id, std::uint16_t at) {
    switch (id) {
        case pci::capability::power_management:
            return pci::PowerManagement::length;
        case host_capability::vital_product_data:
            return 8;
        case pci::capability::msi:
            return msi_length(read, at);
        case pci::capability::vendor_specific:
            return static_cast<std::uint16_t>(read(at + vendor_length_offset, 1));
        case pci::capability::express:
            return express_length(read, at);
        case pci::capability::msix:
            return 12;
        case host_capability::advanced_features:
            return 6;
        default:
            return 2;
    }
}

std::uint16_t extended_length(const ConfigReader& read, std::uint16_t id, std::uint16_t at) {
    switch (id) {
        case host_capability::device_serial_number:
        case host_capability::precision_time_measurement:
            return 12;
        case host_capability::latency_tolerance:
            return 8;
        case host_capability::vendor_specific_extended:
        case host_capability::designated_vendor_specific:
            return static_cast<std::uint16_t>(read(at + 4ULL, 4) >> 20);
        default:
            return rest_of_the_gap;
    }
}

void read_standard(const ConfigReader& read, ConfigImage& image) {
    if ((read(pci::config::status, 2) & pci::Status::capabilities_list.mask) == 0) {
        return;
    }
    std::set<std::uint16_t> seen;
    auto at = static_cast<std::uint16_t>(read(pci::config::capabilities, 1) & 0xFC);
    while (at >= pci::config::header_end && seen.insert(at).second &&
           seen.size() <= standard_capabilities_max) {
        const auto id = static_cast<std::uint16_t>(read(at, 1));
        if (id == 0xFF) {
            return;
        }
        image.capabilities.push_back(
            {.id = id, .offset = at, .length = standard_length(read, id, at)});
        at = static_cast<std::uint16_t>(read(at + 1ULL, 1) & 0xFC);
    }
}

void read_extended(const ConfigReader& read, unsigned config_size, ConfigImage& image) {
    if (config_size < pci::express_config_size) {
        return;
    }
    std::set<std::uint16_t> seen;
    std::uint16_t at = pci::config::extended;
    while (at >= pci::config::extended && seen.insert(at).second &&
           seen.size() <= extended_capabilities_max) {
        const auto header = static_cast<std::uint32_t>(read(at, 4));
        if (header == 0 || header == 0xFFFF'FFFF) {
            return;
        }
        const auto id = static_cast<std::uint16_t>(header);
        image.capabilities.push_back({.id = id,
                                      .extended = true,
                                      .version = static_cast<std::uint8_t>((header >> 16) & 0xF),
                                      .offset = at,
                                      .length = extended_length(read, id, at)});
        at = static_cast<std::uint16_t>((header >> 20) & 0xFFC);
    }
}

/// No capability reaches into the next or past its space.
void limit_lengths(ConfigImage& image, unsigned config_size) {
    for (ConfigCapability& one : image.capabilities) {
        unsigned end = one.extended ? config_size : unsigned{pci::config::extended};
        for (const ConfigCapability& other : image.capabilities) {
            if (other.offset > one.offset && other.offset < end) {
                end = other.offset;
            }
        }
        one.length = static_cast<std::uint16_t>(std::min<unsigned>(one.length, end - one.offset));
    }
}

}  // namespace

const ConfigCapability* ConfigImage::find(std::uint8_t id) const {
    const auto found = std::ranges::find_if(
        capabilities, [&](const ConfigCapability& one) { return !one.extended && one.id == id; });
    return found != capabilities.end() ? &*found : nullptr;
}

const ConfigCapability* ConfigImage::find_extended(std::uint16_t id) const {
    const auto found = std::ranges::find_if(
        capabilities, [&](const ConfigCapability& one) { return one.extended && one.id == id; });
    return found != capabilities.end() ? &*found : nullptr;
}

ConfigImage read_config_image(const ConfigReader& read, unsigned config_size) {
    ConfigImage image;
    read_standard(read, image);
    read_extended(read, config_size, image);
    limit_lengths(image, config_size);
    return image;
}

ConfigImage read_config_image(HostDevice& device) {
    return read_config_image(
        [&](std::uint64_t offset, unsigned size) { return device.read_config(offset, size); },
        device.config_size());
}

ConfigReader config_reader(std::span<const std::uint8_t> bytes) {
    return [bytes](std::uint64_t offset, unsigned size) {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < size; ++i) {
            const std::uint64_t byte = offset + i < bytes.size() ? bytes[offset + i] : 0xFF;
            value |= byte << (8 * i);
        }
        return value;
    };
}

HostBar describe_bar(HostDevice& device, unsigned bar, std::uint64_t size) {
    if (bar == pci::rom_bar) {
        return {.kind = pci::BarKind::rom, .size = size};
    }
    const auto value =
        static_cast<std::uint32_t>(device.read_config(pci::config::bar0 + 4ULL * bar, 4));
    if (pci::BarRegister::io.of(value)) {
        return {.kind = pci::BarKind::io, .size = size};
    }
    return {.kind = pci::BarRegister::is_64_bit.of(value) ? pci::BarKind::memory_64
                                                          : pci::BarKind::memory_32,
            .size = size,
            .prefetchable = pci::BarRegister::prefetchable.of(value)};
}

}  // namespace cupule::passthrough
