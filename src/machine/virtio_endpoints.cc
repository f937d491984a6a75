#include "machine/virtio_endpoints.h"

#include <string>
#include <utility>

#include "backend/entropy_source.h"
#include "device/platform/virtio_rnd.h"
#include "event/worker.h"
#include "machine/virtio_endpoint.h"

namespace cupule::machine {
namespace {

/// In the order of need: the transport goes first when this is destroyed, its worker and back ends
/// after it.
class WorkerEndpoint : public VirtioEndpoint {
  public:
    explicit WorkerEndpoint(hypervisor::Vm& vm) : VirtioEndpoint(vm) {}
    ~WorkerEndpoint() override { transport.reset(); }

    backend::KernelEntropy entropy;
    std::unique_ptr<event::Worker> worker;
};

base::Result<std::unique_ptr<WorkerEndpoint>> with_worker(const SlotOptions& slot,
                                                          const EndpointContext& context) {
    auto endpoint = std::make_unique<WorkerEndpoint>(context.vm);
    // The host shows 15 bytes: "virtio-blk 31:7".
    CUPULE_TRY_ASSIGN(endpoint->worker, event::Worker::create(fmt::format(
                                            "{} {}:{}", slot.device, slot.slot, slot.function)));
    return endpoint;
}

}  // namespace

base::Result<std::unique_ptr<Endpoint>> make_virtio_rnd(const SlotOptions& slot,
                                                        const EndpointContext& context) {
    std::string others = slot.options;
    const virtio::PciTransportModel model = take_transport_model(others, true);
    if (!others.empty()) {
        return base::fail("{}: the option '{}' is not known; there are: transitional, legacy",
                          place_of(slot), others);
    }
    CUPULE_TRY_ASSIGN(auto endpoint, with_worker(slot, context));
    CUPULE_TRY(endpoint->connect(
        std::make_unique<device::VirtioRnd>(endpoint->entropy, *endpoint->worker), context, model));
    return endpoint;
}

}  // namespace cupule::machine
