#include "backend/block_queue.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <vector>

#include "backend/block_store.h"

namespace cupule::backend {
namespace {

base::Result<void> carry_out(BlockStore& store, const BlockRequest& request) {
    switch (request.operation) {
        case BlockOperation::read:
            return store.read(request.segments, request.at);
        case BlockOperation::write:
            CUPULE_TRY(store.write(request.segments, request.at));
            break;
        case BlockOperation::flush:
            return store.flush();
        case BlockOperation::discard:
            return store.discard(request.at, request.bytes);
        case BlockOperation::write_zeroes:
            CUPULE_TRY(store.write_zeroes(request.at, request.bytes, request.may_unmap));
            break;
    }
    return request.durable ? store.flush() : base::Result<void>();
}

class ImmediateBlockQueue : public BlockQueue {
  public:
    ImmediateBlockQueue(BlockStore& store, unsigned depth) : store_(store), depth_(depth) {}
    bool submit(const BlockRequest& request) override {
        if (done_.size() >= depth_) {
            return false;
        }
        done_.push_back({.token = request.token, .error = execute(store_, request)});
        return true;
    }
    void kick() override {}
    std::size_t collect(std::span<BlockCompletion> to) override {
        const std::size_t count = std::min(to.size(), done_.size());
        std::copy_n(done_.begin(), count, to.begin());
        done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(count));
        return count;
    }
    void wait() override {}

  private:
    BlockStore& store_;
    const unsigned depth_;
    std::vector<BlockCompletion> done_;
};

}  // namespace

bool is_io_aligned(std::span<const iovec> segments, std::uint32_t alignment) {
    if (alignment <= 1) {
        return true;
    }
    std::uintptr_t bits = 0;
    for (const iovec& segment : segments) {
        bits |= reinterpret_cast<std::uintptr_t>(segment.iov_base) | segment.iov_len;
    }
    return bits % alignment == 0;
}

int execute(BlockStore& store, const BlockRequest& request) {
    const auto result = carry_out(store, request);
    if (result) {
        return 0;
    }
    return result.error().code != 0 ? result.error().code : EIO;
}

std::unique_ptr<BlockQueue> make_immediate_block_queue(BlockStore& store, unsigned depth) {
    return std::make_unique<ImmediateBlockQueue>(store, depth);
}

}  // namespace cupule::backend
