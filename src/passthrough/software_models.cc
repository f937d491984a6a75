#include "passthrough/software_models.h"

#include <array>
#include <concepts>

#include "passthrough/config_image.h"
#include "pci/config_registers.h"

namespace cupule::passthrough {
namespace {

/// Writes registers, and which of their bits can be written, into a configuration space.
class ConfigBuilder {
  public:
    explicit ConfigBuilder(unsigned size) : config_(size), writable_(size) {}

    template <std::unsigned_integral T>
    ConfigBuilder& put(unsigned offset, T value, T writable = 0) {
        for (unsigned i = 0; i < sizeof(T); ++i) {
            config_[offset + i] = static_cast<std::uint8_t>(std::uint64_t{value} >> (8 * i));
            writable_[offset + i] = static_cast<std::uint8_t>(std::uint64_t{writable} >> (8 * i));
        }
        return *this;
    }
    ConfigBuilder& capability(std::uint8_t offset, std::uint8_t id, std::uint8_t next) {
        return put<std::uint8_t>(offset, id).put<std::uint8_t>(offset + 1U, next);
    }
    ConfigBuilder& extended(std::uint16_t offset, std::uint32_t id, std::uint32_t version,
                            std::uint32_t next) {
        return put<std::uint32_t>(offset, id | (version << 16) | (next << 20));
    }
    ConfigBuilder& header(std::uint32_t id, std::uint32_t class_and_revision,
                          std::uint8_t capabilities) {
        return put<std::uint32_t>(pci::config::vendor_id, id)
            .put<std::uint16_t>(pci::config::command, 0, 0x0547)
            .put<std::uint16_t>(pci::config::status, 0x0010)
            .put<std::uint32_t>(pci::config::revision_id, class_and_revision)
            .put<std::uint8_t>(pci::config::capabilities, capabilities);
    }

    std::vector<std::uint8_t> config() const { return config_; }
    std::vector<std::uint8_t> writable() const { return writable_; }

  private:
    std::vector<std::uint8_t> config_;
    std::vector<std::uint8_t> writable_;
};

constexpr std::uint32_t ptm_granularity_4_ns = 0x0400;
constexpr std::uint32_t ptm_requester = 1;
constexpr std::uint32_t ptm_root_responder = 6;
constexpr std::uint32_t ptm_enabled_root = 3;

/// An Intel PCI Express root port with PTM on, as published with Tiger Lake systems.
std::vector<std::uint8_t> root_port_config() {
    ConfigBuilder port(pci::express_config_size);
    port.header(0xA0BC'8086, 0x0604'0020, 0x40)
        .put<std::uint8_t>(pci::config::header_type, 0x81)
        .capability(0x40, pci::capability::express, 0)
        .put<std::uint16_t>(0x42, 0x0142)       // v2, root port, slot
        .put<std::uint32_t>(0x44, 0x0000'8001)  // payload 256
        .put<std::uint32_t>(0x4C, 0x0572'5013)  // 8 GT/s, x1, port 5
        .put<std::uint16_t>(0x52, 0x7012)       // 5 GT/s, x1
        .extended(pci::config::extended, host_capability::advanced_errors, 1, 0x150)
        .extended(0x150, host_capability::precision_time_measurement, 1, 0)
        .put<std::uint32_t>(0x154, ptm_granularity_4_ns | ptm_root_responder)
        .put<std::uint32_t>(0x158, ptm_granularity_4_ns | ptm_enabled_root);
    return port.config();
}

SoftwareModel make_conventional_model() {
    ConfigBuilder device(pci::conventional_config_size);
    device.header(0x0001'10DD, 0xFF00'0001, 0)
        .put<std::uint16_t>(pci::config::status, 0)
        .put<std::uint8_t>(pci::config::interrupt_pin, 1);
    return {.name = "model:conventional",
            .config = device.config(),
            .writable = device.writable(),
            .intx = 1};
}

constexpr auto names = std::to_array<std::string_view>({"i225", "conventional"});

}  // namespace

SoftwareModel make_i225_model(unsigned msi, unsigned msix) {
    ConfigBuilder device(pci::express_config_size);
    device.header(0x15F2'8086, 0x0200'0003, 0x40)
        .put<std::uint8_t>(pci::config::cache_line_size, 16)
        .put<std::uint32_t>(pci::config::subsystem_vendor_id, 0x0000'8086)
        .put<std::uint8_t>(pci::config::interrupt_pin, 1)
        .capability(0x40, pci::capability::power_management, 0x50)
        .put<std::uint16_t>(0x42, 0xC823)          // v3, DSI, PME from D0, D3hot and D3cold
        .put<std::uint16_t>(0x44, 0x2008, 0x0103)  // no soft reset
        .capability(0x50, pci::capability::msi, msix != 0 ? 0x70 : 0xA0)
        .put<std::uint16_t>(0x52, 0x0180, 0x0071)  // maskable, 64-bit
        .capability(0x70, pci::capability::msix, 0xA0)
        .put<std::uint16_t>(0x72, static_cast<std::uint16_t>(msix != 0 ? msix - 1 : 0), 0xC000)
        .put<std::uint32_t>(0x74, 0x2000)
        .put<std::uint32_t>(0x78, 0x3000)
        .capability(0xA0, pci::capability::express, 0)
        .put<std::uint16_t>(0xA2, 0x0002)       // v2, endpoint
        .put<std::uint32_t>(0xA4, 0x1000'8CC2)  // payload 512, FLR
        .put<std::uint16_t>(0xA8, 0x2810, 0xFFFF)
        .put<std::uint32_t>(0xAC, 0x0043'7C12)  // 5 GT/s, x1, L1
        .put<std::uint16_t>(0xB0, 0x0000, 0x0FFB)
        .put<std::uint16_t>(0xB2, 0x1012)  // 5 GT/s, x1
        .put<std::uint32_t>(0xC4, 0x0000'081F)
        .put<std::uint16_t>(0xC8, 0, 0xFFFF)
        .put<std::uint32_t>(0xCC, 0x0000'0006)
        .put<std::uint16_t>(0xD0, 0x0002, 0xFFFF)
        .extended(0x100, host_capability::advanced_errors, 2, 0x140)
        .put<std::uint32_t>(0x108, 0, 0x07F7'F030)
        .put<std::uint32_t>(0x10C, 0x0046'2030, 0x07F7'F030)
        .put<std::uint32_t>(0x114, 0x0000'2000, 0x0000'31C1)
        .put<std::uint32_t>(0x118, 0x0000'00A0, 0x0000'0140)
        .extended(0x140, host_capability::device_serial_number, 1, 0x1C0)
        .put<std::uint32_t>(0x144, 0xFFC9'0001)
        .put<std::uint32_t>(0x148, 0x00A0'C9FF)
        .extended(0x1C0, host_capability::latency_tolerance, 1, 0x1F0)
        .put<std::uint32_t>(0x1C4, 0, 0x1FFF'1FFF)
        .extended(0x1F0, host_capability::precision_time_measurement, 1, 0x1E0)
        .put<std::uint32_t>(0x1F4, ptm_granularity_4_ns | ptm_requester)
        .put<std::uint32_t>(0x1F8, 0, 0x0000'FF03)
        .extended(0x1E0, 0x001E, 1, 0);  // L1 PM substates
    return {.name = "model:i225",
            .config = device.config(),
            .writable = device.writable(),
            .intx = 1,
            .msi = msi,
            .msix = msix,
            .bar_size = 0x10'0000,
            .port_config = root_port_config()};
}

std::optional<SoftwareModel> find_software_model(std::string_view name) {
    if (name == names[0]) {
        return make_i225_model(1, 5);
    }
    return name == names[1] ? std::optional(make_conventional_model()) : std::nullopt;
}

std::string software_model_names() {
    return std::string(names[0]) + ", " + std::string(names[1]);
}

}  // namespace cupule::passthrough
