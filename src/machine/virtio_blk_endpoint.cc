#include <algorithm>
#include <utility>
#include <vector>

#include "backend/block_store.h"
#include "device/storage/virtio_blk.h"
#include "event/worker.h"
#include "machine/virtio_endpoint.h"
#include "machine/virtio_endpoints.h"

namespace cupule::machine {
namespace {

/// In the order of need: the transport goes first when this is destroyed, its workers and the store
/// after it.
class BlkEndpoint : public VirtioEndpoint {
  public:
    BlkEndpoint(hypervisor::Vm& vm, backend::BlockOptions disk)
        : VirtioEndpoint(vm), options(std::move(disk)) {}
    ~BlkEndpoint() override { transport.reset(); }

    base::Result<void> insert_disk(const std::string& path) override {
        if (!options.path.empty()) {
            return base::fail("the drive was not started with nodisk; it has '{}'", options.path);
        }
        backend::BlockOptions inserted = options;
        inserted.path = path;
        CUPULE_TRY_ASSIGN(auto opened, backend::FileBlockStore::open(inserted));
        blk->replace_store(opened.get());
        store = std::move(opened);
        return {};
    }

    const backend::BlockOptions options;
    std::unique_ptr<backend::BlockStore> store;
    std::vector<std::unique_ptr<event::Worker>> workers;
    device::VirtioBlk* blk = nullptr;  // the transport's
};

device::VirtioBlkSpec spec_of(const backend::BlockOptions& options, const SlotOptions& slot,
                              const VmOptions& machine) {
    return {.read_only = options.read_only,
            .write_through = options.write_through,
            .discard = options.discard,
            .discard_sectors_max = options.discard_sectors_max,
            .discard_segments_max = options.discard_segments_max,
            .discard_alignment = options.discard_alignment,
            .logical_sector = options.logical_sector,
            .physical_sector = options.physical_sector,
            .serial = !options.serial.empty()
                          ? options.serial
                          : fmt::format("CUPULE-{:02x}-{}", slot.slot, slot.function),
            .queues = static_cast<std::uint16_t>(options.queues),
            .limit = options.limit,
            .poll_ns_max = machine.virtio_poll_ns};
}

base::Result<void> assemble(BlkEndpoint& endpoint, const SlotOptions& slot,
                            const EndpointContext& context, virtio::PciTransportModel model) {
    const backend::BlockOptions& options = endpoint.options;
    if (!options.path.empty()) {
        CUPULE_TRY_ASSIGN(endpoint.store, backend::FileBlockStore::open(options));
    }
    std::vector<event::Worker*> workers;
    for (std::size_t i = 0; i < options.workers.size(); ++i) {
        // The host shows 15 bytes: "blk 31:7 39".
        CUPULE_TRY_ASSIGN(auto worker, event::Worker::create(
                                           fmt::format("blk {}:{} {}", slot.slot, slot.function, i),
                                           options.workers[i]));
        workers.push_back(worker.get());
        endpoint.workers.push_back(std::move(worker));
    }
    auto blk = std::make_unique<device::VirtioBlk>(spec_of(options, slot, context.options),
                                                   endpoint.store.get(), workers);
    endpoint.blk = blk.get();
    return endpoint.connect(std::move(blk), context, model);
}

}  // namespace

base::Result<std::unique_ptr<Endpoint>> make_virtio_blk(const SlotOptions& slot,
                                                        const EndpointContext& context) {
    std::string text = slot.options;
    const auto model = take_transport_model(text);
    auto options = backend::parse_block_options(text);
    if (!options) {
        return std::unexpected(options.error().in(place_of(slot)));
    }
    // As acrn-dm: a queue that no processor would use costs memory.
    options->queues = std::min(options->queues, context.options.vcpu_count);
    auto endpoint = std::make_unique<BlkEndpoint>(context.vm, std::move(*options));
    if (const auto result = assemble(*endpoint, slot, context, model); !result) {
        return std::unexpected(result.error().in(place_of(slot)));
    }
    return endpoint;
}

}  // namespace cupule::machine
