#include "machine/disk_parts.h"

#include <utility>

namespace cupule::machine {

base::Result<DiskParts> make_disk(const backend::BlockOptions& options, const std::string& place,
                                  const std::string& serial, std::uint64_t poll_ns_max,
                                  const memory::GuestMemory* memory) {
    DiskParts parts;
    if (!options.path.empty()) {
        CUPULE_TRY_ASSIGN(parts.store, backend::FileBlockStore::open(options, memory));
    }
    std::vector<event::Worker*> workers;
    for (std::size_t i = 0; i < options.workers.size(); ++i) {
        // The host shows 15 bytes: "blk 31:7 39".
        CUPULE_TRY_ASSIGN(auto worker, event::Worker::create(fmt::format("blk {} {}", place, i),
                                                             options.workers[i]));
        workers.push_back(worker.get());
        parts.workers.push_back(std::move(worker));
    }
    const device::VirtioBlkSpec spec{.read_only = options.read_only,
                                     .write_through = options.write_through,
                                     .discard = options.discard,
                                     .discard_sectors_max = options.discard_sectors_max,
                                     .discard_segments_max = options.discard_segments_max,
                                     .discard_alignment = options.discard_alignment,
                                     .logical_sector = options.logical_sector,
                                     .physical_sector = options.physical_sector,
                                     .serial = !options.serial.empty() ? options.serial : serial,
                                     .queues = static_cast<std::uint16_t>(options.queues),
                                     .limit = options.limit,
                                     .poll_ns_max = poll_ns_max};
    parts.device = std::make_unique<device::VirtioBlk>(spec, parts.store.get(), workers);
    return parts;
}

}  // namespace cupule::machine
