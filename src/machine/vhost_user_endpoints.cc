#include "machine/vhost_user_endpoints.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/bits.h"
#include "base/text.h"
#include "device/network/net_config.h"
#include "device/network/virtio_net_registers.h"
#include "device/storage/virtio_blk_protocol.h"
#include "event/worker.h"
#include "machine/virtio_endpoint.h"
#include "vhost_user/front_end_device.h"

namespace cupule::machine {
namespace {

constexpr std::uint16_t queue_size_max = 256;
constexpr std::uint16_t net_queue_size_max = 1024;
constexpr unsigned queues_max = 64;

/// struct virtio_fs_config (Virtio 1.3, 5.11.4): the tag, then the number of request queues.
constexpr std::size_t tag_bytes = 36;
constexpr std::size_t fs_config_bytes = tag_bytes + 4;

/// Has a thread for all that may wait for its back end, so that the control thread never does.
class VhostUserEndpoint : public VirtioEndpoint {
  public:
    explicit VhostUserEndpoint(hypervisor::Vm& vm) : VirtioEndpoint(vm) {}
    ~VhostUserEndpoint() override { transport.reset(); }

    std::unique_ptr<event::Worker> worker;
};

/// What the words of `vhost-user=SOCKET,...` say.
struct Words {
    std::string socket{};
    std::string tag{};
    std::uint16_t queues = 1;
    bool packed = false;
};

/// `count_name` is what the number of queues is called: mq or queues.
base::Result<Words> parse_words(std::string_view text, std::string_view count_name, bool with_tag) {
    Words words;
    while (!text.empty()) {
        const std::string_view word = base::take_word(text, ',');
        const auto [key, value] = base::cut(word, '=');
        if (word == "packed") {
            words.packed = true;
        } else if (key == "vhost-user" && !value.empty()) {
            words.socket = value;
        } else if (with_tag && key == "tag" && !value.empty() && value.size() <= tag_bytes) {
            words.tag = value;
        } else if (const auto queues = base::to_number<std::uint16_t>(value);
                   key == count_name && queues && *queues > 0 && *queues <= queues_max) {
            words.queues = *queues;
        } else {
            return base::fail(
                "the option '{}' is not known here or has no good value; there are "
                "vhost-user=SOCKET{}, {}=N with 1 to {}, packed",
                word, with_tag ? fmt::format(", tag=TAG of 1 to {} bytes", tag_bytes) : "",
                count_name, queues_max);
        }
    }
    if (words.socket.empty()) {
        return base::fail("vhost-user=SOCKET is missing: the socket of the program that serves it");
    }
    if (with_tag && words.tag.empty()) {
        return base::fail("tag=TAG is missing: the name by which the guest mounts it");
    }
    return words;
}

base::Result<std::unique_ptr<Endpoint>> make(const SlotOptions& slot,
                                             const EndpointContext& context,
                                             vhost_user::FrontEndSpec spec,
                                             virtio::PciTransportModel model) {
    auto endpoint = std::make_unique<VhostUserEndpoint>(context.vm);
    const auto assemble = [&]() -> base::Result<void> {
        // The host shows 15 bytes: "v-user 31:7".
        CUPULE_TRY_ASSIGN(endpoint->worker, event::Worker::create(fmt::format(
                                                "v-user {}:{}", slot.slot, slot.function)));
        event::EventLoop& loop = endpoint->worker->loop();
        const std::string socket = spec.path;
        endpoint->served_by = fmt::format("the program behind {}", socket);
        auto back_end = vhost_user::FrontEnd::connect(socket);
        if (!back_end) {
            return base::fail("{}; is its program running? start it before the guest",
                              back_end.error().message);
        }
        CUPULE_TRY_ASSIGN(auto device,
                          vhost_user::FrontEndDevice::create(
                              std::move(spec),
                              {.memory = context.memory, .loop = loop, .monitor = context.monitor},
                              std::move(*back_end)));
        return endpoint->connect(std::move(device), context, model, &loop);
    };
    if (const auto result = assemble(); !result) {
        return std::unexpected(result.error().in(place_of(slot)));
    }
    return endpoint;
}

std::vector<virtio::QueueLimits> queues_of(std::size_t count, std::uint16_t size_max) {
    return std::vector<virtio::QueueLimits>(count, {.size_max = size_max});
}

}  // namespace

bool names_vhost_user(std::string_view options) {
    while (!options.empty()) {
        if (base::take_word(options, ',').starts_with("vhost-user=")) {
            return true;
        }
    }
    return false;
}

base::Result<std::unique_ptr<Endpoint>> make_vhost_user_blk(const SlotOptions& slot,
                                                            std::string_view text,
                                                            const EndpointContext& context,
                                                            virtio::PciTransportModel model) {
    using namespace device::virtio_blk;
    const auto words = parse_words(text, "mq", false);
    if (!words) {
        return std::unexpected(words.error().in(place_of(slot)));
    }
    const auto queues =
        std::min(words->queues, static_cast<std::uint16_t>(context.options.vcpu_count));
    // Bits whose fields lie within config::bytes.
    const std::uint64_t passed = base::mask(15) & ~(queues > 1 ? 0 : feature::mq);
    return make(
        slot, context,
        {.id = {.name = "virtio-blk", .type = 2, .pci_class = 0x010000},
         .path = words->socket,
         .features_passed = passed,
         .queues = queues_of(queues, queue_size_max),
         .back_end_config_bytes = config::bytes,
         .writable =
             vhost_user::FrontEndSpec::WritableByte{
                 .feature = feature::config_wce, .at = config::writeback, .value_max = 1},
         .patch = vhost_user::FrontEndSpec::Patch{.at = config::num_queues, .value = queues}},
        model);
}

base::Result<std::unique_ptr<Endpoint>> make_vhost_user_net(const SlotOptions& slot,
                                                            const backend::NetOptions& options,
                                                            const backend::MacAddress& mac,
                                                            const EndpointContext& context) {
    namespace net = device::net;
    const bool several = options.queues > 1;
    const net::Configuration shown{
        .mac = net::pack(mac), .pairs = options.queues, .mtu = options.mtu};
    std::vector<std::uint8_t> config(net::config::bytes);
    for (std::size_t i = 0; i < config.size(); ++i) {
        config[i] = static_cast<std::uint8_t>(net::read(shown, i, 1));
    }
    const std::uint64_t offloads = net::offload_features(
        {.checksum = true, .tso4 = true, .tso6 = true, .tso_ecn = true, .uso = true});
    return make(
        slot, context,
        {.id = {.name = "virtio-net", .type = 1, .pci_class = 0x020000},
         .path = options.name,
         .features_passed = offloads | net::feature::mrg_rxbuf | (several ? net::feature::mq : 0),
         .features_own = net::feature::mac | net::feature::status |
                         (options.mtu != 0 ? net::feature::mtu : 0) |
                         (several ? net::feature::ctrl_vq : 0),
         .queues =
             queues_of(2 * std::size_t{options.queues} + (several ? 1 : 0), net_queue_size_max),
         .has_pair_control = several,
         .queues_in_one = 2,
         .config = std::move(config),
         .link_status_at = net::config::status},
        virtio::PciTransportModel::modern);
}

base::Result<std::unique_ptr<Endpoint>> make_virtio_fs(const SlotOptions& slot,
                                                       const EndpointContext& context) {
    const auto words = parse_words(slot.options, "queues", true);
    if (!words) {
        return std::unexpected(words.error().in(place_of(slot)));
    }
    std::vector<std::uint8_t> config(fs_config_bytes);
    std::ranges::copy(words->tag, config.begin());
    config[tag_bytes] = static_cast<std::uint8_t>(words->queues);
    // One queue for what cannot wait comes first (5.11.2).
    return make(slot, context,
                {.id = {.name = "virtio-fs", .type = 26, .pci_class = 0x018000},
                 .path = words->socket,
                 .packed = words->packed,
                 .queues = queues_of(std::size_t{words->queues} + 1, queue_size_max),
                 .config = std::move(config)},
                virtio::PciTransportModel::modern);
}

}  // namespace cupule::machine
