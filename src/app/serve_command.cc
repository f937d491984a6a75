#include "app/serve_command.h"

#include <sys/epoll.h>

#include <utility>

#include "app/exit_codes.h"
#include "app/service_signals.h"
#include "base/log.h"
#include "device/network/virtio_net_registers.h"
#include "event/event_loop.h"
#include "machine/disk_parts.h"
#include "machine/net_parts.h"
#include "machine/virtio_endpoint.h"
#include "vhost_user/back_end_server.h"

namespace cupule::app {
namespace {

/// What front ends of a network card do themselves: the control queue, and with it all it is for.
constexpr std::uint64_t front_end_net_features =
    device::net::feature::ctrl_vq | device::net::feature::ctrl_rx |
    device::net::feature::ctrl_rx_extra | device::net::feature::ctrl_vlan |
    device::net::feature::ctrl_mac_addr | device::net::feature::ctrl_guest_offloads |
    device::net::feature::mac | device::net::feature::status | device::net::feature::mtu |
    device::net::feature::rss;

/// What of a device is a front end's.
struct Share {
    std::uint64_t hidden_features = 0;
    std::uint16_t queues = 1;
    std::uint16_t queues_in_one = 1;
    bool has_config = true;
};

void log_statistics(const virtio::Device& device, machine::StatisticsDetail detail) {
    for (const std::string& line : machine::queue_lines(device, detail)) {
        base::log(base::LogLevel::notice, "{} {}", device.id().name, line);
    }
}

/// Runs until a signal comes.
base::Result<void> serve(virtio::Device& device, const Share& share, const ServeOptions& options,
                         int signals) {
    const std::string& socket = options.socket;
    CUPULE_TRY_ASSIGN(const auto loop, event::EventLoop::create());
    event::Monitor monitor;
    event::Monitor signal_monitor;
    CUPULE_TRY_ASSIGN(const auto watch, loop->watch(signals, EPOLLIN, signal_monitor,
                                                    [&](std::uint32_t) { loop->stop(); }));
    CUPULE_TRY_ASSIGN(const auto server,
                      vhost_user::BackEndServer::create({.device = device,
                                                         .loop = *loop,
                                                         .monitor = monitor,
                                                         .hidden_features = share.hidden_features,
                                                         .queues = share.queues,
                                                         .queues_in_one = share.queues_in_one,
                                                         .has_config = share.has_config},
                                                        socket));
    base::log_info("serving {} at '{}'", device.id().name, socket);
    const std::uint64_t period_ns = options.statistics_period_s.value_or(0) * event::ns_per_s;
    std::unique_ptr<event::Timer> statistics;
    statistics = loop->make_timer(signal_monitor, [&] {
        log_statistics(device, machine::StatisticsDetail::percentiles);
        statistics->start_at(loop->clock().now_ns() + period_ns);
    });
    if (period_ns != 0) {
        event::MutexLock lock(signal_monitor);
        statistics->start_at(loop->clock().now_ns() + period_ns);
    }
    loop->run();
    if (options.statistics_period_s) {
        log_statistics(device, machine::StatisticsDetail::histograms);
    }
    return {};
}

base::Result<void> serve_disk(const ServeOptions& options, int signals) {
    CUPULE_TRY_ASSIGN(const auto disk, backend::parse_block_options(options.options));
    if (disk.pinned) {
        return base::fail("pinned: the memory is the front ends', which come and go; leave it out");
    }
    CUPULE_TRY_ASSIGN(auto parts, machine::make_disk(disk, "user", "CUPULE-USER", options.poll_ns,
                                                     nullptr));
    return serve(*parts.device, {.queues = static_cast<std::uint16_t>(disk.queues)}, options,
                 signals);
}

base::Result<void> serve_card(const ServeOptions& options, int signals) {
    CUPULE_TRY_ASSIGN(const auto card, backend::parse_net_options(options.options));
    // Front ends show their own address.
    CUPULE_TRY_ASSIGN(
        auto parts, machine::NetParts::make(card, card.mac.value_or(backend::MacAddress{}), "user",
                                            options.poll_ns));
    return serve(*parts.device,
                 {.hidden_features = front_end_net_features,
                  .queues = static_cast<std::uint16_t>(2 * card.queues),
                  .queues_in_one = 2,
                  .has_config = false},
                 options, signals);
}

}  // namespace

int run_serve(const ServeOptions& options) {
    const auto run = [&]() -> base::Result<void> {
        CUPULE_TRY_ASSIGN(const base::FileDescriptor signals, take_end_signals());
        return options.device == "virtio-blk" ? serve_disk(options, signals.get())
                                              : serve_card(options, signals.get());
    };
    if (const auto result = run(); !result) {
        base::log_error("serve {}: {}", options.device, result.error().message);
        return exit_failure;
    }
    return exit_ok;
}

}  // namespace cupule::app
