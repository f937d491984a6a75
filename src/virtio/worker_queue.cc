#include "virtio/worker_queue.h"

#include <sys/epoll.h>

#include <utility>

namespace cupule::virtio {

base::Result<std::unique_ptr<WorkerQueue>> WorkerQueue::create(event::Worker& worker,
                                                               RunningQueue queue,
                                                               DeviceEvents& events,
                                                               event::Callback kicked) {
    std::unique_ptr<WorkerQueue> made(new WorkerQueue(std::move(queue), events, std::move(kicked)));
    CUPULE_TRY_ASSIGN(made->watch_,
                      worker.loop().watch(made->running_.kick_fd, EPOLLIN, worker.monitor(),
                                          [self = made.get()](std::uint32_t) { self->ready(); }));
    return made;
}

void WorkerQueue::ready() {
    base::drain_eventfd(running_.kick_fd);
    kicked_();
}

void WorkerQueue::publish() {
    running_.publish();
    if (running_.queue.broken() && !std::exchange(broken_told_, true)) {
        events_.queue_broken(running_.index, running_.queue.fault());
    }
}

RunningQueue WorkerQueue::take() {
    watch_.reset();
    return std::move(running_);
}

}  // namespace cupule::virtio
