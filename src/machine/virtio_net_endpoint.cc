#include <utility>

#include "backend/net_options.h"
#include "backend/tap_port.h"
#include "device/network/vhost_net.h"
#include "machine/net_parts.h"
#include "machine/vhost_user_endpoints.h"
#include "machine/virtio_endpoint.h"
#include "machine/virtio_endpoints.h"
#include "virtio/vhost_kernel.h"

namespace cupule::machine {
namespace {

class NetEndpoint : public VirtioEndpoint {
  public:
    NetEndpoint(hypervisor::Vm& vm, NetParts made) : VirtioEndpoint(vm), parts(std::move(made)) {}
    ~NetEndpoint() override { transport.reset(); }

    NetParts parts;
};

/// A tap and the kernel's thread for it.
class VhostNetEndpoint : public VirtioEndpoint {
  public:
    explicit VhostNetEndpoint(hypervisor::Vm& vm) : VirtioEndpoint(vm) {
        served_by = "the kernel (vhost-net)";
    }
    ~VhostNetEndpoint() override { transport.reset(); }

    base::Result<void> open(const backend::NetOptions& options, const virtio::VhostPowers& powers) {
        CUPULE_TRY_ASSIGN(auto queues, backend::open_tap(options.name, 1));
        auto shared = std::make_shared<backend::TapQueues>(std::move(queues));
        CUPULE_TRY_ASSIGN(auto queue, backend::TapQueue::create(std::move(shared), 0));
        tap = std::make_unique<backend::TapQueue>(std::move(queue));
        CUPULE_TRY_ASSIGN(kernel, virtio::VhostKernel::open("/dev/vhost-net", powers));
        return {};
    }

    std::unique_ptr<backend::TapQueue> tap;
    std::unique_ptr<virtio::VhostKernel> kernel;
};

/// What the user says, else what the back end demands, else acrn-dm's rule. Its seed is the virtual
/// machine's name here, so that two machines on one wire differ.
backend::MacAddress address_of(const backend::NetOptions& options, const SlotOptions& slot,
                               const std::string& vm_name) {
    if (options.mac) {
        return *options.mac;
    }
    if (options.kind == backend::NetKind::tap && options.mac_seed.empty()) {
        if (const auto demanded = backend::macvtap_address(options.name)) {
            return *demanded;
        }
    }
    const std::string& seed = options.mac_seed.empty() ? vm_name : options.mac_seed;
    return backend::generated_mac(slot.slot, slot.function, seed);
}

base::Result<std::unique_ptr<Endpoint>> make_vhost_net(const backend::NetOptions& options,
                                                       const SlotOptions& slot,
                                                       const EndpointContext& context,
                                                       virtio::PciTransportModel model) {
    auto endpoint = std::make_unique<VhostNetEndpoint>(context.vm);
    if (const auto opened = endpoint->open(
            options, {.memory = context.memory, .loop = context.loop, .monitor = context.monitor});
        !opened) {
        return std::unexpected(opened.error().in(place_of(slot)));
    }
    const device::VhostNetSpec spec{.mac = address_of(options, slot, context.options.name),
                                    .mtu = options.mtu};
    CUPULE_TRY(endpoint->connect(
        std::make_unique<device::VhostNet>(spec, *endpoint->kernel, *endpoint->tap), context,
        model));
    return endpoint;
}

}  // namespace

base::Result<std::unique_ptr<Endpoint>> make_virtio_net(const SlotOptions& slot,
                                                        const EndpointContext& context) {
    std::string text = slot.options;
    const auto model = take_transport_model(text);
    const auto options = backend::parse_net_options(text);
    if (!options) {
        return std::unexpected(options.error().in(place_of(slot)));
    }
    if (options->vhost) {
        return make_vhost_net(*options, slot, context, model);
    }
    const backend::MacAddress mac = address_of(*options, slot, context.options.name);
    if (options->kind == backend::NetKind::vhost_user) {
        if (model != virtio::PciTransportModel::modern) {
            return base::fail(
                "{}: transitional and legacy are not there with vhost-user=: such programs know "
                "the headers of modern drivers alone",
                place_of(slot));
        }
        return make_vhost_user_net(slot, *options, mac, context);
    }
    auto parts = NetParts::make(*options, mac, fmt::format("{}:{}", slot.slot, slot.function),
                                context.options.virtio_poll_ns);
    if (!parts) {
        return std::unexpected(parts.error().in(place_of(slot)));
    }
    auto endpoint = std::make_unique<NetEndpoint>(context.vm, std::move(*parts));
    CUPULE_TRY(endpoint->connect(std::move(endpoint->parts.device), context, model));
    return endpoint;
}

}  // namespace cupule::machine
