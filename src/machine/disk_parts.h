#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/block_store.h"
#include "base/error.h"
#include "device/storage/virtio_blk.h"
#include "event/worker.h"

namespace cupule::machine {

/// A virtio disk and what it works with. Members are in the order of need: the device, wherever it
/// went, is destroyed before this.
struct DiskParts {
    /// nullptr: no disk is in the drive.
    std::unique_ptr<backend::BlockStore> store;
    std::vector<std::unique_ptr<event::Worker>> workers;
    std::unique_ptr<device::VirtioBlk> device;
};

/// `place` ("3:0") is in the names of its threads; `serial` holds where the options have none;
/// `poll_ns_max` as VirtioBlkSpec. Opens and locks the image.
/// `memory` as FileBlockStore::open.
base::Result<DiskParts> make_disk(const backend::BlockOptions& options, const std::string& place,
                                  const std::string& serial, std::uint64_t poll_ns_max,
                                  const memory::GuestMemory* memory);

}  // namespace cupule::machine
