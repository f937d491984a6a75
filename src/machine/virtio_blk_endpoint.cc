#include <algorithm>
#include <utility>

#include "backend/block_store.h"
#include "device/storage/virtio_blk.h"
#include "machine/disk_parts.h"
#include "machine/vhost_user_endpoints.h"
#include "machine/virtio_endpoint.h"
#include "machine/virtio_endpoints.h"

namespace cupule::machine {
namespace {

/// The transport goes first when this is destroyed, its workers and the store after it.
class BlkEndpoint : public VirtioEndpoint {
  public:
    BlkEndpoint(const EndpointContext& context, backend::BlockOptions disk)
        : VirtioEndpoint(context.vm), options(std::move(disk)), memory(context.memory) {}
    ~BlkEndpoint() override { transport.reset(); }

    // Not before all devices are there: one may put RAM elsewhere (GuestMemory::share).
    base::Result<void> placed() override {
        if (options.pinned) {
            kept_pages = memory.keep_pages();
        }
        return {};
    }

    base::Result<void> insert_disk(const std::string& path) override {
        if (!options.path.empty()) {
            return base::fail("the drive was not started with nodisk; it has '{}'", options.path);
        }
        backend::BlockOptions inserted = options;
        inserted.path = path;
        CUPULE_TRY_ASSIGN(auto opened, backend::FileBlockStore::open(inserted, &memory));
        blk->replace_store(opened.get());
        parts.store = std::move(opened);
        return {};
    }

    const backend::BlockOptions options;
    const memory::GuestMemory& memory;
    memory::GuestMemory::KeptPages kept_pages;
    DiskParts parts;
    device::VirtioBlk* blk = nullptr;  // the transport's
};

base::Result<void> assemble(BlkEndpoint& endpoint, const SlotOptions& slot,
                            const EndpointContext& context, virtio::PciTransportModel model) {
    const std::string place = fmt::format("{}:{}", slot.slot, slot.function);
    const std::string serial = fmt::format("CUPULE-{:02x}-{}", slot.slot, slot.function);
    CUPULE_TRY_ASSIGN(endpoint.parts,
                      make_disk(endpoint.options, place, serial, context.options.virtio_poll_ns,
                                &endpoint.memory));
    endpoint.blk = endpoint.parts.device.get();
    return endpoint.connect(std::move(endpoint.parts.device), context, model);
}

}  // namespace

base::Result<std::unique_ptr<Endpoint>> make_virtio_blk(const SlotOptions& slot,
                                                        const EndpointContext& context) {
    std::string text = slot.options;
    const auto model = take_transport_model(text);
    if (names_vhost_user(text)) {
        return make_vhost_user_blk(slot, text, context, model);
    }
    auto options = backend::parse_block_options(text);
    if (!options) {
        return std::unexpected(options.error().in(place_of(slot)));
    }
    // As acrn-dm: a queue that no processor would use costs memory.
    options->queues = std::min(options->queues, context.options.vcpu_count);
    auto endpoint = std::make_unique<BlkEndpoint>(context, std::move(*options));
    if (const auto result = assemble(*endpoint, slot, context, model); !result) {
        return std::unexpected(result.error().in(place_of(slot)));
    }
    return endpoint;
}

}  // namespace cupule::machine
