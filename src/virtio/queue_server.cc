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
        woke_itself_ = false;
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
    if (!std::exchange(woke_itself_, false)) {
        meter_.kick();
    }
    serve_batch();
}

void QueueServer::serve_batch() {
    RunningQueue& running = *queue_;
    Queue& queue = running.queue;
    queue.disable_notifications();
    bool drained = false;
    std::uint64_t delay_ns = 0;
    unsigned served = 0;
    const event::Clock& clock = worker_.loop().clock();
    std::uint64_t now_ns = clock.now_ns();
    for (; served < batch_max; ++served) {
        delay_ns = handler_.delay_ns();
        if (delay_ns != 0) {
            break;
        }
        Chain chain = queue.pop();
        if (!chain) {
            drained = true;
            break;
        }
        const std::uint64_t read = chain.readable_bytes();
        const std::uint32_t written = handler_.serve(chain);
        queue.push_used(std::move(chain), written);
        const std::uint64_t began_ns = std::exchange(now_ns, clock.now_ns());
        meter_.request(read + written, false, now_ns - began_ns);
    }
    if (const bool interrupted = running.publish(); served != 0) {
        meter_.batch(interrupted);
    }
    if (queue.broken()) {
        if (!std::exchange(broken_told_, true)) {
            events_->queue_broken(running.index, queue.fault());
        }
        return;
    }
    if (delay_ns != 0) {
        meter_.throttle();
        pause_->start_at(now_ns + delay_ns);
        return;
    }
    if (!drained || queue.enable_notifications()) {
        woke_itself_ = true;
        base::signal_eventfd(running.kick_fd);  // more is there; the loop's turn first
    }
}

}  // namespace cupule::virtio
