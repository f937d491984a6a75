#include "machine/pci_device_factories.h"

#include <algorithm>
#include <array>

#include "machine/hypervisor_endpoints.h"
#include "machine/vhost_user_endpoints.h"
#include "machine/virtio_endpoints.h"

namespace cupule::machine {
namespace {

struct Entry {
    std::string_view name;
    EndpointFactory make;
};

// One line a device, sorted by name.
constexpr auto factories = std::to_array<Entry>({
    {"ivshmem", make_ivshmem},
    {"uart", make_pci_uart},
    {"vhost-vsock", make_vhost_vsock},
    {"virtio-balloon", make_virtio_balloon},
    {"virtio-blk", make_virtio_blk},
    {"virtio-console", make_virtio_console},
    {"virtio-fs", make_virtio_fs},
    {"virtio-net", make_virtio_net},
    {"virtio-rnd", make_virtio_rnd},
    {"virtio-vsock", make_virtio_vsock},
});
static_assert(std::ranges::is_sorted(factories, {}, &Entry::name));

}  // namespace

EndpointFactory find_endpoint_factory(std::string_view name) {
    const auto* found = std::ranges::lower_bound(factories, name, {}, &Entry::name);
    return found != factories.end() && found->name == name ? found->make : nullptr;
}

}  // namespace cupule::machine
