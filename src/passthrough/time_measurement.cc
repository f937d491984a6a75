#include "passthrough/time_measurement.h"

#include "base/field.h"
#include "passthrough/config_image.h"
#include "pci/config_registers.h"
#include "pci/express_capability.h"

namespace cupule::passthrough {
namespace {

/// PTM Capability and PTM Control (7.32.2, 7.32.3).
constexpr std::uint16_t capability_offset = 4;
constexpr std::uint16_t control_offset = 8;
constexpr unsigned ptm_length = 12;
using Requester = base::Bit<std::uint32_t, 0>;
using Root = base::Bit<std::uint32_t, 2>;
using Enable = base::Bit<std::uint32_t, 0>;
using RootSelect = base::Bit<std::uint32_t, 1>;

/// PCI Express Capabilities (7.8.2) and Link Status (7.8.8).
using PortType = base::Field<std::uint16_t, 7, 4, pci::ExpressType>;
constexpr unsigned link_status_offset = 0x12;

/// One configuration space with its capabilities found.
class Space {
  public:
    explicit Space(std::span<const std::uint8_t> bytes)
        : read_(config_reader(bytes)),
          image_(read_config_image(read_, static_cast<unsigned>(bytes.size()))),
          express_(image_.find(pci::capability::express)),
          time_(image_.find_extended(host_capability::precision_time_measurement)) {}

    template <class T>
    T get(std::uint64_t offset) const {
        return static_cast<T>(read_(offset, sizeof(T)));
    }
    std::optional<pci::ExpressType> type() const {
        if (express_ == nullptr) {
            return std::nullopt;
        }
        return PortType::of(get<std::uint16_t>(express_->offset + 2ULL));
    }
    bool has_time() const { return time_ != nullptr; }
    std::uint32_t time_register(std::uint16_t offset) const {
        return get<std::uint32_t>(std::uint64_t{time_->offset} + offset);
    }
    std::uint16_t link_status() const {
        return get<std::uint16_t>(std::uint64_t{express_->offset} + link_status_offset);
    }

  private:
    ConfigReader read_;
    ConfigImage image_;
    const ConfigCapability* express_;
    const ConfigCapability* time_;
};

base::Result<bool> check_endpoint(const Space& endpoint) {
    const auto type = endpoint.type();
    if (!type) {
        return base::fail("the device is not PCI Express");
    }
    const bool integrated = *type == pci::ExpressType::integrated_endpoint;
    if (!integrated && *type != pci::ExpressType::endpoint &&
        *type != pci::ExpressType::legacy_endpoint) {
        return base::fail("the device is no endpoint");
    }
    if (!endpoint.has_time()) {
        return base::fail(
            "the device has no PTM capability (reading it needs the right to read all of the "
            "configuration space)");
    }
    if (!Requester::of(endpoint.time_register(capability_offset))) {
        return base::fail("the device is no PTM requester");
    }
    if (pci::HeaderTypeRegister::multi_function.of(
            endpoint.get<std::uint8_t>(pci::config::header_type))) {
        return base::fail("the device has several functions");
    }
    return integrated;
}

}  // namespace

base::Result<TimeSource> check_time_measurement(std::span<const std::uint8_t> endpoint,
                                                std::span<const std::uint8_t> port) {
    CUPULE_TRY_ASSIGN(const bool integrated, check_endpoint(Space(endpoint)));
    if (integrated) {
        return TimeSource{.integrated = true};
    }
    const Space above(port);
    if (port.empty() || above.type() != pci::ExpressType::root_port) {
        return base::fail("the device is not directly below a root port");
    }
    if (!above.has_time() || !Root::of(above.time_register(capability_offset))) {
        return base::fail("its root port cannot be a PTM root");
    }
    const std::uint32_t control = above.time_register(control_offset);
    if (!Enable::of(control) || !RootSelect::of(control)) {
        return base::fail("PTM of its root port is not on (the host's firmware or kernel does it)");
    }
    const auto revision_and_class = above.get<std::uint32_t>(pci::config::revision_id);
    return TimeSource{.port = {.vendor_id = above.get<std::uint16_t>(pci::config::vendor_id),
                               .device_id = above.get<std::uint16_t>(pci::config::device_id),
                               .revision = static_cast<std::uint8_t>(revision_and_class)},
                      .link_status = above.link_status(),
                      .capability = above.time_register(capability_offset),
                      .control = control};
}

TimePort::TimePort(const TimeSource& source, pci::BusSpaces spaces, std::uint8_t port_number)
    : port_(source.port, spaces, port_number, source.link_status) {
    pci::ConfigSpace& space = port_.bridge().function().config();
    const std::uint16_t at =
        space.add_extended_capability(host_capability::precision_time_measurement, 1, ptm_length);
    space.define<std::uint32_t>(static_cast<std::uint16_t>(at + capability_offset),
                                source.capability);
    space.define<std::uint32_t>(static_cast<std::uint16_t>(at + control_offset), source.control);
}

}  // namespace cupule::passthrough
