#include "virtio/worker_queue.h"

#include <sys/epoll.h>

#include <utility>

namespace cupule::virtio {

base::Result<std::unique_ptr<WorkerQueue>> WorkerQueue::create(
    event::Worker& worker, RunningQueue queue, DeviceEvents& events, event::Callback kicked,
    QueueMeter* meter, std::uint64_t poll_ns_max) {
    std::unique_ptr<WorkerQueue> made(
        new WorkerQueue(worker, std::move(queue), events, std::move(kicked), meter, poll_ns_max));
    CUPULE_TRY_ASSIGN(made->watch_, worker.loop().watch(
                                        made->running_.kick_fd, EPOLLIN | EPOLLET, worker.monitor(),
                                        [self = made.get()](std::uint32_t) { self->ready(); }));
    made->poller_ = worker.loop().make_poller(
        worker.monitor(), [self = made.get()](std::uint64_t) { return self->look(); });
    return made;
}

void WorkerQueue::ready() {
    if (meter_ != nullptr) {
        meter_->kick();
    }
    if (looking_) {
        return;  // the next look finds it
    }
    if (const std::uint64_t since_ns = std::exchange(asleep_since_ns_, 0); since_ns != 0) {
        window_.slept(clock_.now_ns() - since_ns);
    }
    kicked_();
}

bool WorkerQueue::look() {
    looking_ = false;
    kicked_();
    return looking_;
}

void WorkerQueue::rest(bool found) {
    const std::uint64_t now_ns = window_.max_ns() != 0 ? clock_.now_ns() : 0;
    found_last_ns_ = found ? now_ns : found_last_ns_;
    if (now_ns - found_last_ns_ < window_.ns() || queue().enable_notifications()) {
        again();
    } else {
        asleep_since_ns_ = now_ns;
    }
}

void WorkerQueue::publish() {
    const std::uint64_t before = queue().statistics().batches;
    const bool interrupted = running_.publish();
    if (meter_ != nullptr && queue().statistics().batches != before) {
        meter_->batch(interrupted);
        worker_.served(meter_->take_recent());
    }
    if (running_.queue.broken() && !std::exchange(broken_told_, true)) {
        events_.queue_broken(running_.index, running_.queue.fault());
    }
}

RunningQueue WorkerQueue::take() {
    watch_.reset();
    poller_.reset();
    return std::move(running_);
}

}  // namespace cupule::virtio
