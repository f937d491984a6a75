#include "machine/net_parts.h"

#include <utility>

namespace cupule::machine {

base::Result<NetParts> NetParts::make(const backend::NetOptions& options,
                                      const backend::MacAddress& mac, const std::string& place,
                                      std::uint64_t poll_ns_max) {
    NetParts parts;
    const backend::WorkerCpus one_each(options.queues);
    const backend::WorkerCpus& threads = options.workers.empty() ? one_each : options.workers;
    for (std::size_t i = 0; i < threads.size(); ++i) {
        // The host shows 15 bytes: "net 31:7 q15".
        CUPULE_TRY_ASSIGN(auto worker,
                          event::Worker::create(fmt::format("net {} q{}", place, i), threads[i]));
        parts.workers_.push_back(std::move(worker));
    }
    for (std::size_t i = 0; i < options.queues; ++i) {
        parts.pair_workers_.push_back(parts.workers_[i % threads.size()].get());
    }
    CUPULE_TRY_ASSIGN(parts.ports_, backend::open_net_ports(options, parts.pair_workers_));
    std::vector<device::NetPairPowers> pairs;
    for (std::size_t i = 0; i < parts.ports_.size(); ++i) {
        pairs.push_back({.port = *parts.ports_[i], .worker = *parts.pair_workers_[i]});
    }
    const device::VirtioNetSpec spec{.mac = mac, .mtu = options.mtu, .poll_ns_max = poll_ns_max};
    parts.device = std::make_unique<device::VirtioNet>(spec, pairs);
    return parts;
}

NetParts::~NetParts() {
    device.reset();
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        pair_workers_[i]->call([&] { ports_[i].reset(); });
    }
}

}  // namespace cupule::machine
