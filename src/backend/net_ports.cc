#include <utility>

#include "backend/hub_port.h"
#include "backend/limited_port.h"
#include "backend/loop_port.h"
#include "backend/net_options.h"
#include "backend/tap_port.h"

namespace cupule::backend {
namespace {

base::Result<std::unique_ptr<NetPort>> open_port(const NetOptions& options,
                                                 const std::shared_ptr<TapQueues>& tap,
                                                 std::size_t number, event::EventLoop& loop,
                                                 event::Monitor& monitor) {
    switch (options.kind) {
        case NetKind::user:
            return open_slirp_port(options.slirp, loop, monitor);
        case NetKind::tap: {
            CUPULE_TRY_ASSIGN(TapQueue queue, TapQueue::create(tap, number));
            return make_tap_port(std::move(queue), loop, monitor);
        }
        case NetKind::unix_server:
            return open_hub_server(options.name, loop, monitor);
        case NetKind::unix_client:
            return open_hub_client(options.name, loop, monitor);
        case NetKind::loop:
            return make_loop_port(loop, monitor);
        case NetKind::vhost_user:
            break;
    }
    return base::fail("vhost-user={} is no port", options.name);
}

}  // namespace

base::Result<std::vector<std::unique_ptr<NetPort>>> open_net_ports(
    const NetOptions& options, std::span<event::Worker* const> workers) {
    std::shared_ptr<TapQueues> tap;
    if (options.kind == NetKind::tap) {
        CUPULE_TRY_ASSIGN(auto queues, open_tap(options.name, options.queues));
        tap = std::make_shared<TapQueues>(std::move(queues));
    }
    std::shared_ptr<CardLimits> limits;
    if (options.limit.limits()) {
        // The first worker's clock outlives all ports.
        limits = std::make_shared<CardLimits>(options.limit, workers.front()->loop().clock());
    }
    std::vector<std::unique_ptr<NetPort>> ports;
    base::Result<void> result;
    for (std::size_t i = 0; i < workers.size() && result; ++i) {
        event::Worker& worker = *workers[i];
        result = worker.call([&]() -> base::Result<void> {
            CUPULE_TRY_ASSIGN(auto port,
                              open_port(options, tap, i, worker.loop(), worker.monitor()));
            if (limits) {
                event::MonitorTimers timers(worker.loop(), worker.monitor());
                port = make_limited_port(std::move(port), limits, worker.loop().clock(), timers);
            }
            ports.push_back(std::move(port));
            return {};
        });
    }
    for (std::size_t i = 0; i < ports.size() && !result; ++i) {
        workers[i]->call([&] { ports[i].reset(); });
    }
    CUPULE_TRY(std::move(result));
    return ports;
}

}  // namespace cupule::backend
