#include "virtio/worker_queue.h"

#include <sys/epoll.h>

#include <utility>

namespace cupule::virtio {

base::Result<std::unique_ptr<WorkerQueue>> WorkerQueue::create(event::Worker& worker,
                                                               RunningQueue queue,
                                                               DeviceEvents& events,
                                                               event::Callback kicked,
                                                               QueueMeter* meter) {
    std::unique_ptr<WorkerQueue> made(
        new WorkerQueue(std::move(queue), events, std::move(kicked), meter));
    CUPULE_TRY_ASSIGN(made->watch_,
                      worker.loop().watch(made->running_.kick_fd, EPOLLIN, worker.monitor(),
                                          [self = made.get()](std::uint32_t) { self->ready(); }));
    return made;
}

void WorkerQueue::ready() {
    base::drain_eventfd(running_.kick_fd);
    if (!std::exchange(own_kick_, false) && meter_ != nullptr) {
        meter_->kick();
    }
    kicked_();
}

void WorkerQueue::publish() {
    const std::uint64_t before = queue().statistics().batches;
    const bool interrupted = running_.publish();
    if (meter_ != nullptr && queue().statistics().batches != before) {
        meter_->batch(interrupted);
    }
    if (running_.queue.broken() && !std::exchange(broken_told_, true)) {
        events_.queue_broken(running_.index, running_.queue.fault());
    }
}

RunningQueue WorkerQueue::take() {
    watch_.reset();
    return std::move(running_);
}

}  // namespace cupule::virtio
