#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "testing/virtio_pci_bench.h"
#include "virtio/features.h"
#include "virtio/vhost_ioctl.h"
#include "virtio/vhost_kernel.h"

namespace cupule::testing {

/// The kernel's end of vhost on a host that has none, whose calls `answer_ioctls` answers.
inline base::Result<std::unique_ptr<virtio::VhostKernel>> open_vhost(VirtioPciBench& bench) {
    return virtio::VhostKernel::open(
        "/dev/null", {.memory = *bench.memory, .loop = *bench.loop, .monitor = bench.monitor});
}

/// What the kernel was told last of each ring, as far as a start and a stop ask.
struct FakeVhost {
    int operator()(unsigned long request, void* argument) {
        if (request == VHOST_GET_FEATURES) {
            *static_cast<std::uint64_t*>(argument) = features;
        }
        const auto* const file = static_cast<const vhost_vring_file*>(argument);
        if (request == VHOST_NET_SET_BACKEND) {
            back_end[file->index] = file->fd;
        } else if (request == VHOST_SET_VRING_ERR) {
            error[file->index] = file->fd;
        }
        return 0;
    }

    std::uint64_t features = virtio::feature::version_1;
    std::map<unsigned, int> back_end{};
    std::map<unsigned, int> error{};
};

}  // namespace cupule::testing
