#include "machine/virtio_endpoints.h"

#include <utility>

#include "backend/block_store.h"
#include "backend/entropy_source.h"
#include "device/platform/virtio_rnd.h"
#include "device/storage/virtio_blk.h"
#include "event/worker.h"
#include "virtio/event_wiring.h"
#include "virtio/pci_transport.h"

namespace cupule::machine {
namespace {

/// The hypervisor's eventfd services as a transport sees them. A refusal is no failure: the
/// transport does the work itself.
class VmEventWiring : public virtio::EventWiring {
  public:
    explicit VmEventWiring(hypervisor::Vm& vm) : vm_(vm) {}
    bool add_doorbell(const io::Doorbell& doorbell) override {
        return vm_.add_doorbell(doorbell).has_value();
    }
    void remove_doorbell(const io::Doorbell& doorbell) override { vm_.remove_doorbell(doorbell); }
    bool route(int eventfd, const irq::MsiMessage& message) override {
        return vm_.route_message(eventfd, message).has_value();
    }
    void unroute(int eventfd) override { vm_.unroute(eventfd); }

  private:
    hypervisor::Vm& vm_;
};

/// In the order of need: the transport goes first when this is destroyed, its worker and back ends
/// after it.
class VirtioEndpoint : public Endpoint {
  public:
    explicit VirtioEndpoint(hypervisor::Vm& vm) : wiring(vm) {}
    pci::Function& function() override { return transport->function(); }
    snapshot::Device& device() override { return *transport; }

    base::Result<void> connect(std::unique_ptr<virtio::Device> device,
                               const EndpointContext& context) {
        CUPULE_TRY_ASSIGN(
            transport, virtio::PciTransport::create(std::move(device),
                                                    {.memory = context.memory,
                                                     .loop = context.loop,
                                                     .monitor = context.monitor,
                                                     .messages = context.vm,
                                                     .wiring = &wiring,
                                                     .msi_only = context.options.virtio_msi_only}));
        return {};
    }

    VmEventWiring wiring;
    backend::KernelEntropy entropy;
    std::unique_ptr<backend::BlockStore> store;
    std::unique_ptr<event::Worker> worker;
    std::unique_ptr<virtio::PciTransport> transport;
};

std::string place_of(const SlotOptions& slot) {
    return fmt::format("-s {}:{},{}", slot.slot, slot.function, slot.device);
}

base::Result<std::unique_ptr<VirtioEndpoint>> with_worker(const SlotOptions& slot,
                                                          const EndpointContext& context) {
    auto endpoint = std::make_unique<VirtioEndpoint>(context.vm);
    // The host shows 15 bytes: "virtio-blk 31:7".
    CUPULE_TRY_ASSIGN(endpoint->worker, event::Worker::create(fmt::format(
                                            "{} {}:{}", slot.device, slot.slot, slot.function)));
    return endpoint;
}

}  // namespace

base::Result<std::unique_ptr<Endpoint>> make_virtio_blk(const SlotOptions& slot,
                                                        const EndpointContext& context) {
    const auto options = backend::parse_block_options(slot.options);
    if (!options) {
        return std::unexpected(options.error().in(place_of(slot)));
    }
    CUPULE_TRY_ASSIGN(auto endpoint, with_worker(slot, context));
    auto store = backend::FileBlockStore::open(*options);
    if (!store) {
        return std::unexpected(store.error().in(place_of(slot)));
    }
    endpoint->store = std::move(*store);
    const device::VirtioBlkSpec spec{
        .read_only = options->read_only,
        .write_through = options->write_through,
        .discard = options->discard,
        .logical_sector = options->logical_sector,
        .physical_sector = options->physical_sector,
        .serial = fmt::format("CUPULE-{:02x}-{}", slot.slot, slot.function)};
    CUPULE_TRY(endpoint->connect(
        std::make_unique<device::VirtioBlk>(spec, *endpoint->store, *endpoint->worker), context));
    return endpoint;
}

base::Result<std::unique_ptr<Endpoint>> make_virtio_rnd(const SlotOptions& slot,
                                                        const EndpointContext& context) {
    if (!slot.options.empty()) {
        return base::fail("{}: the option '{}' is not known; the device takes none here",
                          place_of(slot), slot.options);
    }
    CUPULE_TRY_ASSIGN(auto endpoint, with_worker(slot, context));
    CUPULE_TRY(endpoint->connect(
        std::make_unique<device::VirtioRnd>(endpoint->entropy, *endpoint->worker), context));
    return endpoint;
}

}  // namespace cupule::machine
