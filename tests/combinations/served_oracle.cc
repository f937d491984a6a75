// What the other oracles ask and expect, of a device that another thread serves over vhost-user.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "base/bits.h"
#include "device/network/net_config.h"
#include "device/network/virtio_net_registers.h"
#include "device/storage/virtio_blk_protocol.h"
#include "oracle.h"
#include "vhost_user/back_end_server.h"
#include "vhost_user/front_end_device.h"
#include "virtio/features.h"

namespace cupule::testing {
namespace {

using vhost_user::FrontEndSpec;
namespace net = device::net;

/// What of a device is whose.
struct Share {
    std::uint64_t hidden_features = 0;
    /// The front end's description of it.
    FrontEndSpec spec{};
};

std::vector<virtio::QueueLimits> queues_of(std::size_t count) {
    return std::vector<virtio::QueueLimits>(count, {.size_max = 256});
}

/// A device behind our back end, on a thread of its own.
class Service {
  public:
    Service(std::unique_ptr<virtio::Device> device, const Share& share)
        : device_(std::move(device)) {
        const FrontEndSpec& spec = share.spec;
        const std::size_t own = spec.has_pair_control ? 1 : 0;
        server_ = *vhost_user::BackEndServer::create(
            {.device = *device_,
             .loop = *loop_,
             .monitor = monitor_,
             .hidden_features = share.hidden_features,
             .queues = static_cast<std::uint16_t>(spec.queues.size() - own),
             .queues_in_one = spec.queues_in_one,
             .has_config = spec.back_end_config_bytes != 0},
            spec.path);
        thread_ = std::thread([this] { loop_->run(); });
    }
    ~Service() {
        loop_->stop();
        thread_.join();
        server_.reset();
    }
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;

  private:
    std::unique_ptr<event::EventLoop> loop_ = *event::EventLoop::create();
    event::Monitor monitor_;
    std::unique_ptr<virtio::Device> device_;
    std::unique_ptr<vhost_user::BackEndServer> server_;
    std::thread thread_;
};

class ServedOracle : public Oracle {
  public:
    explicit ServedOracle(std::unique_ptr<Oracle> oracle) : oracle_(std::move(oracle)) {}

    std::unique_ptr<virtio::Device> make(unsigned units, VirtioPciBench& bench) override {
        service_.reset();
        Share share = this->share(units);
        share.spec.path = fmt::format("/tmp/cupule-combinations-{}", getpid());
        share.spec.packed = true;
        service_ = std::make_unique<Service>(oracle_->make(units, bench), share);
        auto connection = *vhost_user::FrontEnd::connect(share.spec.path);
        return *vhost_user::FrontEndDevice::create(
            share.spec, {.memory = *bench.memory, .loop = *bench.loop, .monitor = bench.monitor},
            std::move(connection));
    }
    std::vector<Meeting> meetings() const override { return oracle_->meetings(); }
    std::uint64_t lacking() const override { return virtio::feature::access_platform; }
    void introduce(Guest& guest, const Meeting& meeting) override {
        oracle_->introduce(guest, meeting);
    }
    void exchange(Guest& guest, const Meeting& meeting) override {
        oracle_->exchange(guest, meeting);
    }

  private:
    virtual Share share(unsigned units) const = 0;

    std::unique_ptr<Oracle> oracle_;
    std::unique_ptr<Service> service_;
};

class ServedDiskOracle : public ServedOracle {
  public:
    ServedDiskOracle() : ServedOracle(make_disk_oracle()) {}

  private:
    Share share(unsigned units) const override {
        using namespace device::virtio_blk;
        return {
            .spec = {.id = {.name = "virtio-blk", .type = 2, .pci_class = 0x010000},
                     .features_passed = base::mask(15),
                     .queues = queues_of(units),
                     .back_end_config_bytes = config::bytes,
                     .writable = FrontEndSpec::WritableByte{
                         .feature = feature::config_wce, .at = config::writeback, .value_max = 1}}};
    }
};

/// The front end has the control queue, for the number of pairs only.
class ServedNetOracle : public ServedOracle {
  public:
    ServedNetOracle() : ServedOracle(make_net_oracle()) {}

    std::vector<Meeting> meetings() const override {
        std::vector<Meeting> result;
        for (Meeting meeting : ServedOracle::meetings()) {
            if ((meeting.features & net::feature::rss) != 0) {
                continue;
            }
            meeting.features &= passed | own | net::feature::ctrl_vq;
            if (meeting.units == 1) {
                meeting.features &= ~net::feature::ctrl_vq;
                meeting.queues = 2;
            }
            result.push_back(meeting);
        }
        return result;
    }

  private:
    static constexpr std::uint64_t passed = net::feature::csum | net::feature::guest_csum |
                                            net::feature::host_tso4 | net::feature::guest_tso4 |
                                            net::feature::mrg_rxbuf | net::feature::mq;
    static constexpr std::uint64_t own = net::feature::mac | net::feature::status;
    /// Those that are no rings' or transport's.
    static constexpr std::uint64_t type_features = base::mask(24) | ~base::mask(50);

    Share share(unsigned units) const override {
        const bool several = units > 1;
        const net::Configuration shown{.mac = net::pack(card_mac),
                                       .pairs = static_cast<std::uint16_t>(units)};
        std::vector<std::uint8_t> config(net::config::bytes);
        for (std::size_t i = 0; i < config.size(); ++i) {
            config[i] = static_cast<std::uint8_t>(net::read(shown, i, 1));
        }
        return {.hidden_features = type_features & ~passed,
                .spec = {.id = {.name = "virtio-net", .type = 1, .pci_class = 0x020000},
                         .features_passed = passed & ~(several ? 0 : net::feature::mq),
                         .features_own = own | (several ? net::feature::ctrl_vq : 0),
                         .queues = queues_of(std::size_t{2} * units + (several ? 1 : 0)),
                         .has_pair_control = several,
                         .queues_in_one = 2,
                         .config = std::move(config),
                         .link_status_at = net::config::status}};
    }
};

}  // namespace

std::unique_ptr<Oracle> make_served_disk_oracle() {
    return std::make_unique<ServedDiskOracle>();
}

std::unique_ptr<Oracle> make_served_net_oracle() {
    return std::make_unique<ServedNetOracle>();
}

}  // namespace cupule::testing
