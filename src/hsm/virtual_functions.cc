#include "hsm/virtual_functions.h"

#include <cstring>

#include "hypervisor/acrn/acrn_abi.h"
#include "passthrough/time_measurement.h"

namespace cupule::hsm {
namespace {

using hypervisor::acrn::RootPortArguments;

/// Its secondary bus has no functions here: what the client puts there is found by its place.
class VirtualRootPort : public VmFunction {
  public:
    explicit VirtualRootPort(const RootPortArguments& arguments)
        : arguments_(arguments),
          port_(source(arguments), {ports_, memory_}, arguments.secondary_bus) {
        set_buses();
    }
    pci::Function& function() override { return port_.port().bridge().function(); }
    void reset() override {
        port_.reset();
        set_buses();
    }

  private:
    static passthrough::TimeSource source(const RootPortArguments& arguments) {
        // PTM capability: responder and root, a granularity of 4 ns; control: on, and the root
        // (PCI Express Base 3.1, 7.32).
        constexpr std::uint32_t capability = 0x406;
        constexpr std::uint32_t control = 0x3;
        const bool has_time = arguments.ptm_capable != 0;
        return {.port = {.vendor_id = hypervisor::acrn::root_port_vendor,
                         .device_id = hypervisor::acrn::root_port_device,
                         .revision = 1},
                .link_status = pci::link_gen1_x1,
                .capability = has_time ? capability : 0,
                .control = has_time ? control : 0};
    }
    /// The guest finds the buses that the client has given.
    void set_buses() {
        port_.port().bridge().assign_bus_numbers(0, arguments_.secondary_bus,
                                                 arguments_.subordinate_bus);
    }

    const RootPortArguments arguments_;
    io::AddressSpace ports_{"port", 0, 1};
    io::AddressSpace memory_{"memory", 0, 1};
    passthrough::TimePort port_;
};

std::unique_ptr<VmFunction> make_root_port(const acrn_vdev& device) {
    RootPortArguments arguments{};
    static_assert(sizeof arguments <= sizeof device.args);
    std::memcpy(&arguments, device.args, sizeof arguments);
    if (arguments.secondary_bus == 0 || arguments.subordinate_bus < arguments.secondary_bus) {
        return nullptr;
    }
    return std::make_unique<VirtualRootPort>(arguments);
}

}  // namespace

std::unique_ptr<VmFunction> make_virtual_function(const acrn_vdev& device) {
    const auto& id = device.id.fields;
    if (id.vendor == hypervisor::acrn::root_port_vendor &&
        id.device == hypervisor::acrn::root_port_device) {
        return make_root_port(device);
    }
    return nullptr;
}

}  // namespace cupule::hsm
