#include <string>
#include <string_view>
#include <utility>

#include "backend/unix_streams.h"
#include "base/text.h"
#include "device/network/vhost_vsock.h"
#include "device/network/virtio_vsock.h"
#include "event/worker.h"
#include "machine/virtio_endpoint.h"
#include "machine/virtio_endpoints.h"
#include "virtio/vhost_kernel.h"

namespace cupule::machine {
namespace {

// 0 to 2 are the hypervisor, this machine's loopback and the host; the last means any (vsock(7)).
constexpr std::uint32_t cid_min = 3;
constexpr std::uint32_t cid_max = 0xFFFF'FFFE;

class VhostVsockEndpoint : public VirtioEndpoint {
  public:
    explicit VhostVsockEndpoint(hypervisor::Vm& vm) : VirtioEndpoint(vm) {
        served_by = "the kernel (vhost-vsock)";
    }
    ~VhostVsockEndpoint() override { transport.reset(); }
    std::unique_ptr<virtio::VhostKernel> kernel;
};

/// A worker and the sockets that live on it.
class VsockEndpoint : public VirtioEndpoint {
  public:
    explicit VsockEndpoint(hypervisor::Vm& vm) : VirtioEndpoint(vm) {}
    ~VsockEndpoint() override {
        transport.reset();
        if (worker) {
            worker->call([this] { host.reset(); });
        }
    }
    base::Result<void> open(const std::string& path, const SlotOptions& slot) {
        // The host shows 15 bytes: "vsock 31:7".
        CUPULE_TRY_ASSIGN(
            worker, event::Worker::create(fmt::format("vsock {}:{}", slot.slot, slot.function)));
        return worker->call([&]() -> base::Result<void> {
            CUPULE_TRY_ASSIGN(host,
                              backend::open_unix_streams(path, worker->loop(), worker->monitor()));
            return {};
        });
    }

    std::unique_ptr<event::Worker> worker;
    std::unique_ptr<backend::StreamHost> host;
};

struct VsockOptions {
    std::uint32_t cid = 0;
    std::string path{};
};

base::Result<std::uint32_t> parse_cid(std::string_view text) {
    const auto [key, figures] = base::cut(text, '=');
    const auto cid = base::to_number<std::uint32_t>(figures);
    if (key != "cid" || !cid || *cid < cid_min || *cid > cid_max) {
        return base::fail("'{}' is not cid=CID with a number from {} to {}", text, cid_min,
                          cid_max);
    }
    return *cid;
}

/// `cid=CID,uds=PATH`, in any order.
base::Result<VsockOptions> parse_vsock(std::string_view text) {
    VsockOptions options;
    while (!text.empty()) {
        const std::string_view word = base::take_word(text, ',');
        const auto [key, value] = base::cut(word, '=');
        if (key == "uds") {
            options.path = value;
            continue;
        }
        CUPULE_TRY_ASSIGN(options.cid, parse_cid(word));
    }
    if (options.cid == 0 || options.path.empty()) {
        return base::fail("{} is missing: cid=CID,uds=PATH",
                          options.cid == 0 ? "cid=CID" : "uds=PATH");
    }
    return options;
}

}  // namespace

base::Result<std::unique_ptr<Endpoint>> make_vhost_vsock(const SlotOptions& slot,
                                                         const EndpointContext& context) {
    auto endpoint = std::make_unique<VhostVsockEndpoint>(context.vm);
    const auto open = [&]() -> base::Result<std::uint32_t> {
        CUPULE_TRY_ASSIGN(const std::uint32_t cid, parse_cid(slot.options));
        CUPULE_TRY_ASSIGN(endpoint->kernel, virtio::VhostKernel::open(
                                                "/dev/vhost-vsock", {.memory = context.memory,
                                                                     .loop = context.loop,
                                                                     .monitor = context.monitor}));
        CUPULE_TRY(device::set_guest_cid(*endpoint->kernel, cid));
        return cid;
    };
    const auto cid = open();
    if (!cid) {
        return std::unexpected(cid.error().in(place_of(slot)));
    }
    CUPULE_TRY(
        endpoint->connect(std::make_unique<device::VhostVsock>(*cid, *endpoint->kernel), context));
    return endpoint;
}

base::Result<std::unique_ptr<Endpoint>> make_virtio_vsock(const SlotOptions& slot,
                                                          const EndpointContext& context) {
    const auto options = parse_vsock(slot.options);
    if (!options) {
        return std::unexpected(options.error().in(place_of(slot)));
    }
    auto endpoint = std::make_unique<VsockEndpoint>(context.vm);
    if (const auto opened = endpoint->open(options->path, slot); !opened) {
        return std::unexpected(opened.error().in(place_of(slot)));
    }
    CUPULE_TRY(endpoint->connect(
        std::make_unique<device::VirtioVsock>(options->cid, *endpoint->host, *endpoint->worker),
        context));
    return endpoint;
}

}  // namespace cupule::machine
