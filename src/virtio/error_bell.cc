#include "virtio/error_bell.h"

#include <sys/epoll.h>

namespace cupule::virtio {

base::Result<std::unique_ptr<ErrorBell>> ErrorBell::create(std::uint16_t queue,
                                                           DeviceEvents& events,
                                                           event::EventLoop& loop,
                                                           event::Monitor& monitor) {
    auto made = std::make_unique<ErrorBell>();
    CUPULE_TRY_ASSIGN(made->bell_, base::make_eventfd());
    CUPULE_TRY_ASSIGN(made->watch_, loop.watch(made->bell_.get(), EPOLLIN, monitor,
                                               [queue, &events, bell = made.get()](std::uint32_t) {
                                                   base::drain_eventfd(bell->fd());
                                                   events.queue_broken(
                                                       queue, QueueFault::broken_elsewhere);
                                               }));
    return made;
}

}  // namespace cupule::virtio
