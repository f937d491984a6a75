#include "pci/express_capability.h"

#include "base/assert.h"
#include "base/field.h"

namespace cupule::pci {
namespace {

constexpr unsigned length = 60;
constexpr std::uint16_t capabilities = 0x02;         // PCI Express Capabilities
constexpr std::uint16_t device_capabilities = 0x04;  // Device Capabilities
constexpr std::uint16_t device_control = 0x08;       // Device Control
constexpr std::uint16_t device_status = 0x0A;        // Device Status
constexpr std::uint16_t link_capabilities = 0x0C;    // Link Capabilities
constexpr std::uint16_t link_control = 0x10;         // Link Control
constexpr std::uint16_t link_status = 0x12;          // Link Status
constexpr std::uint16_t root_control = 0x1C;         // Root Control
constexpr std::uint16_t root_status = 0x20;          // Root Status
constexpr std::uint16_t device_control_2 = 0x28;     // Device Control 2
constexpr std::uint16_t link_capabilities_2 = 0x2C;  // Link Capabilities 2
constexpr std::uint16_t link_control_2 = 0x30;       // Link Control 2

constexpr std::uint16_t capability_version = 2;
using PortType = base::Field<std::uint16_t, 7, 4, ExpressType>;

/// Device Capabilities (7.8.3).
using RoleBasedErrorReporting = base::Bit<std::uint32_t, 15>;
using FlrCapability = base::Bit<std::uint32_t, 28>;
/// Device Control (7.8.4).
using InitiateFlr = base::Bit<std::uint16_t, 15>;
/// Relaxed ordering and no snoop on, 512-byte read requests.
constexpr std::uint16_t device_control_default = 0x2810;
/// Error reporting, relaxed ordering, payload size, no snoop, read request size.
constexpr std::uint16_t device_control_writable = 0x78FF;
constexpr std::uint16_t device_status_write_1_to_clear = 0x000F;

/// Link registers (7.8.6 to 7.8.8): speed and width stand in the same bits of all.
constexpr std::uint16_t link_speed_and_width = 0x03FF;
constexpr std::uint16_t link_speed = 0x000F;
using PortNumber = base::Field<std::uint32_t, 31, 24>;
/// ASPM, read completion boundary, common clock, extended synch.
constexpr std::uint16_t link_control_writable = 0x00C3;
/// Root Control (7.8.12): system errors and PME interrupt.
constexpr std::uint16_t root_control_writable = 0x000F;
constexpr std::uint32_t root_status_write_1_to_clear = 1U << 16;  // PME Status
/// Device Control 2 (7.8.16): completion timeout disable.
constexpr std::uint16_t device_control_2_writable = 0x0010;

}  // namespace

ExpressCapability::ExpressCapability(Function& function, const ExpressOptions& options)
    : function_(function), offset_(function.config().add_capability(capability::express, length)) {
    CUPULE_ASSERT(function.attributes().express);
    function_.config().define<std::uint16_t>(
        offset_ + capabilities,
        static_cast<std::uint16_t>(capability_version | PortType::make(options.type)));
    define_device(options);
    if (options.type != ExpressType::integrated_endpoint) {
        define_link(options);
    }
    if (options.type == ExpressType::root_port) {
        define_root();
    }
    function_.add_part(*this);
}

void ExpressCapability::define_device(const ExpressOptions& options) {
    ConfigSpace& space = function_.config();
    std::uint32_t device = RoleBasedErrorReporting::mask;
    std::uint16_t writable = device_control_writable;
    if (options.function_level_reset) {
        device = FlrCapability::set(device);
        writable = InitiateFlr::set(writable);
    }
    space.define<std::uint32_t>(offset_ + device_capabilities, device);
    space.define<std::uint16_t>(offset_ + device_control, device_control_default,
                                {.writable = writable});
    space.define<std::uint16_t>(offset_ + device_status, 0,
                                {.write_1_to_clear = device_status_write_1_to_clear});
    space.define<std::uint16_t>(offset_ + device_control_2, 0,
                                {.writable = device_control_2_writable});
}

void ExpressCapability::define_link(const ExpressOptions& options) {
    ConfigSpace& space = function_.config();
    const auto link = static_cast<std::uint16_t>(options.link & link_speed_and_width);
    const auto speed = static_cast<std::uint16_t>(link & link_speed);
    space.define<std::uint32_t>(offset_ + link_capabilities,
                                link | PortNumber::make(options.port_number));
    space.define<std::uint16_t>(offset_ + link_control, 0, {.writable = link_control_writable});
    space.define<std::uint16_t>(offset_ + link_status, link);
    // Bits 7:1: each speed up to the highest.
    space.define<std::uint32_t>(offset_ + link_capabilities_2, ((1U << speed) - 1) << 1);
    space.define<std::uint16_t>(offset_ + link_control_2, speed);
}

void ExpressCapability::define_root() {
    ConfigSpace& space = function_.config();
    space.define<std::uint16_t>(offset_ + root_control, 0, {.writable = root_control_writable});
    space.define<std::uint32_t>(offset_ + root_status, 0,
                                {.write_1_to_clear = root_status_write_1_to_clear});
}

void ExpressCapability::config_written(std::uint64_t /*offset*/, unsigned /*size*/) {
    const auto at = static_cast<std::uint16_t>(offset_ + device_control);
    const auto control = function_.config().get<std::uint16_t>(at);
    if (InitiateFlr::of(control)) {
        function_.function_level_reset();
    }
}

}  // namespace cupule::pci
