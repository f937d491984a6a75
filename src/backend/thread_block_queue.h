#pragma once

#include <memory>

#include "backend/block_queue.h"
#include "event/thread_pool.h"

namespace cupule::backend {

/// Hands requests to threads that use the store's waiting calls. Both outlive the queue. Fails when
/// the host has no eventfd left.
base::Result<std::unique_ptr<BlockQueue>> make_thread_block_queue(BlockStore& store,
                                                                  event::ThreadPool& threads,
                                                                  unsigned depth);

}  // namespace cupule::backend
