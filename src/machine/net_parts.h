#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/net_options.h"
#include "base/error.h"
#include "device/network/virtio_net.h"
#include "event/worker.h"

namespace cupule::machine {

/// A virtio network card and what it works with: workers, and a port for each pair of queues.
class NetParts {
  public:
    /// `place` ("3:0") is in the names of its threads; `poll_ns_max` as VirtioNetSpec.
    static base::Result<NetParts> make(const backend::NetOptions& options,
                                       const backend::MacAddress& mac, const std::string& place,
                                       std::uint64_t poll_ns_max);
    NetParts(NetParts&&) = default;
    NetParts& operator=(NetParts&&) = delete;
    /// The device, wherever it went, is destroyed before.
    ~NetParts();

    std::unique_ptr<device::VirtioNet> device;

  private:
    NetParts() = default;

    std::vector<std::unique_ptr<event::Worker>> workers_;
    /// Of each pair.
    std::vector<event::Worker*> pair_workers_;
    std::vector<std::unique_ptr<backend::NetPort>> ports_;
};

}  // namespace cupule::machine
