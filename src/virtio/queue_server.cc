#include "virtio/queue_server.h"

#include <sys/epoll.h>

#include <utility>

namespace cupule::virtio {
namespace {

/// Requests between two looks at the event loop, so that `stop` never waits for a driver that keeps
/// the ring full.
constexpr unsigned batch_max = 64;

}  // namespace

QueueServer::~QueueServer() {
    static_cast<void>(stop());
}

base::Result<void> QueueServer::start(RunningQueue queue, DeviceEvents& events) {
    auto result = worker_.call([&]() -> base::Result<void> {
        CUPULE_TRY_ASSIGN(watch_, worker_.loop().watch(queue.kick_fd, EPOLLIN, worker_.monitor(),
                                                       [this](std::uint32_t) { kicked(); }));
        pause_ = worker_.loop().make_timer(worker_.monitor(), [this] { serve_batch(); });
        queue_ = std::move(queue);
        events_ = &events;
        broken_told_ = false;
        return {};
    });
    started_ = result.has_value();
    return result;
}

std::optional<RunningQueue> QueueServer::stop() {
    if (!std::exchange(started_, false)) {
        return std::nullopt;
    }
    return worker_.call([this] {
        watch_.reset();
        pause_.reset();
        events_ = nullptr;
        return std::exchange(queue_, std::nullopt);
    });
}

void QueueServer::kicked() {
    base::drain_eventfd(queue_->kick_fd);
    serve_batch();
}

void QueueServer::serve_batch() {
    RunningQueue& running = *queue_;
    Queue& queue = running.queue;
    queue.disable_notifications();
    bool drained = false;
    std::uint64_t delay_ns = 0;
    for (unsigned served = 0; served < batch_max && !drained; ++served) {
        delay_ns = handler_.delay_ns();
        if (delay_ns != 0) {
            break;
        }
        Chain chain = queue.pop();
        if (!chain) {
            drained = true;
            break;
        }
        const std::uint32_t written = handler_.serve(chain);
        queue.push_used(std::move(chain), written);
    }
    running.publish();
    if (queue.broken()) {
        if (!std::exchange(broken_told_, true)) {
            events_->queue_broken(running.index, queue.fault());
        }
        return;
    }
    if (delay_ns != 0) {
        pause_->start_at(worker_.loop().clock().now_ns() + delay_ns);
        return;
    }
    if (!drained || queue.enable_notifications()) {
        base::signal_eventfd(running.kick_fd);  // more is there; the loop's turn first
    }
}

}  // namespace cupule::virtio
