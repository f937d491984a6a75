#include "hsm/virtual_functions.h"

#include <cstring>
#include <string_view>

#include "hsm/shared_memory_function.h"
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

std::unique_ptr<VmFunction> make_shared_memory(const acrn_vdev& device,
                                               const VirtualFunctionParts& parts,
                                               event::Monitor& monitor) {
    const char* const text = reinterpret_cast<const char*>(device.args);
    const std::string_view name(text, strnlen(text, hypervisor::acrn::shared_memory_name_size));
    if (parts.shared_memories == nullptr) {
        return nullptr;
    }
    const auto found = parts.shared_memories->find(name);
    if (found == parts.shared_memories->end() ||
        found->second->size() != device.io_size[hypervisor::acrn::shared_memory_bar]) {
        return nullptr;
    }
    return SharedMemoryFunction::create(*found->second, parts.vm, parts.vm_id, monitor);
}

}  // namespace

std::unique_ptr<VmFunction> make_virtual_function(const acrn_vdev& device,
                                                  const VirtualFunctionParts& parts,
                                                  event::Monitor& monitor) {
    using namespace hypervisor::acrn;
    const auto& id = device.id.fields;
    if (id.vendor == root_port_vendor && id.device == root_port_device) {
        return make_root_port(device);
    }
    if (id.vendor == shared_memory_vendor && id.device == shared_memory_device) {
        return make_shared_memory(device, parts, monitor);
    }
    return nullptr;
}

}  // namespace cupule::hsm
