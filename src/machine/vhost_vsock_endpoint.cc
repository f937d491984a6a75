#include <utility>

#include "base/text.h"
#include "device/network/vhost_vsock.h"
#include "machine/virtio_endpoint.h"
#include "machine/virtio_endpoints.h"
#include "virtio/vhost_kernel.h"

namespace cupule::machine {
namespace {

// 0 to 2 are the hypervisor, this machine's loopback and the host; the last means any (vsock(7)).
constexpr std::uint32_t cid_min = 3;
constexpr std::uint32_t cid_max = 0xFFFF'FFFE;

class VsockEndpoint : public VirtioEndpoint {
  public:
    explicit VsockEndpoint(hypervisor::Vm& vm) : VirtioEndpoint(vm) {}
    ~VsockEndpoint() override { transport.reset(); }
    std::unique_ptr<virtio::VhostKernel> kernel;
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

}  // namespace

base::Result<std::unique_ptr<Endpoint>> make_vhost_vsock(const SlotOptions& slot,
                                                         const EndpointContext& context) {
    auto endpoint = std::make_unique<VsockEndpoint>(context.vm);
    const auto open = [&]() -> base::Result<std::uint32_t> {
        CUPULE_TRY_ASSIGN(const std::uint32_t cid, parse_cid(slot.options));
        CUPULE_TRY_ASSIGN(endpoint->kernel,
                          virtio::VhostKernel::open("/dev/vhost-vsock", context.memory));
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

}  // namespace cupule::machine
