#include "vhost_user/pair_control.h"

#include <sys/epoll.h>

#include <utility>

#include "device/network/virtio_net_registers.h"

namespace cupule::vhost_user {
namespace {

namespace control = device::net::control;

/// Commands between two looks at the loop.
constexpr unsigned batch_max = 16;

struct __attribute__((packed)) Command {
    std::uint8_t group = 0;
    std::uint8_t command = 0;
    std::uint16_t pairs = 0;
};

}  // namespace

base::Result<std::unique_ptr<PairControl>> PairControl::create(
    virtio::RunningQueue queue, std::uint16_t pairs_max, event::EventLoop& loop,
    event::Monitor& monitor, virtio::DeviceEvents& events, SetPairs set_pairs) {
    std::unique_ptr<PairControl> made(
        new PairControl(std::move(queue), pairs_max, events, std::move(set_pairs)));
    CUPULE_TRY_ASSIGN(made->watch_,
                      loop.watch(made->running_.kick_fd, EPOLLIN, monitor,
                                 [self = made.get()](std::uint32_t) { self->kicked(); }));
    base::signal_eventfd(made->running_.kick_fd);
    return made;
}

virtio::RunningQueue PairControl::take() {
    watch_.reset();
    return std::move(running_);
}

void PairControl::kicked() {
    base::drain_eventfd(running_.kick_fd);
    virtio::Queue& queue = running_.queue;
    queue.disable_notifications();
    bool dry = false;
    for (unsigned served = 0; served < batch_max && !dry; ++served) {
        virtio::Chain chain = queue.pop();
        if (!chain) {
            dry = true;
            break;
        }
        virtio::ChainWriter writer(chain);
        writer.value(execute(chain) ? control::ok : control::error);
        queue.push_used(std::move(chain), writer.written());
    }
    running_.publish();
    if (queue.broken()) {
        if (!std::exchange(broken_told_, true)) {
            events_.queue_broken(running_.index, queue.fault());
        }
    } else if (!dry || queue.enable_notifications()) {
        base::signal_eventfd(running_.kick_fd);
    }
}

bool PairControl::execute(const virtio::Chain& chain) {
    virtio::ChainReader reader(chain);
    const auto command = reader.value<Command>();
    const bool known = command && (command->group << 8 | command->command) == control::mq_pairs_set;
    if (!known || command->pairs < 1 || command->pairs > pairs_max_) {
        return false;
    }
    set_pairs_(command->pairs);
    return true;
}

}  // namespace cupule::vhost_user
