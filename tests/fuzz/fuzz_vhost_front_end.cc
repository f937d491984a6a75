// Our front end as a device before a back end that means harm: a disk or a network card behind the
// PCI transport, with a driver that starts, stops and writes; a back end whose answers, news, rings
// and connections are the input's (hostile_back_end.h). The device takes back ends that come again.
// After each input a sound back end must be taken, and rings must start and stop with it.

#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "backend/unix_socket.h"
#include "base/log.h"
#include "device/network/virtio_net_registers.h"
#include "device/storage/virtio_blk_protocol.h"
#include "event/testing/jumping_clock.h"
#include "hostile_back_end.h"
#include "testing/no_device.h"
#include "testing/virtio_driver.h"
#include "testing/virtio_pci_bench.h"
#include "vhost_user/front_end_device.h"
#include "virtio/features.h"

namespace {

using namespace cupule;
using fuzz::HostileBackEnd;
using fuzz::Input;
using event::testing::JumpingClock;
using testing::VirtioDriver;
using testing::VirtioPciBench;
using vhost_user::FrontEnd;
using vhost_user::FrontEndDevice;
using vhost_user::FrontEndSpec;
using Steady = std::chrono::steady_clock;

constexpr std::uint64_t rings_at = 0x1'0000;
constexpr std::uint64_t ring_stride = 0x8000;
constexpr std::uint64_t buffers_at = 0x8'0000;
constexpr std::uint16_t ring_size = 16;
constexpr std::uint16_t disk_queues = 2;
constexpr std::uint16_t pairs = 2;
constexpr std::uint16_t card_queues = 2 * pairs + 1;
/// Below FrontEnd::timeout_ms, above what a busy machine takes.
constexpr std::chrono::milliseconds at_once{4500};

FrontEndSpec disk_spec() {
    using namespace device::virtio_blk;
    return {.id = {.name = "virtio-blk", .type = 2, .pci_class = 0x010000},
            .features_passed = base::mask(15),
            .queues = std::vector<virtio::QueueLimits>(disk_queues, {.size_max = ring_size}),
            .back_end_config_bytes = config::bytes,
            .writable = FrontEndSpec::WritableByte{.feature = feature::config_wce,
                                                   .at = config::writeback,
                                                   .value_max = 1},
            .patch = FrontEndSpec::Patch{.at = config::num_queues, .value = disk_queues}};
}

FrontEndSpec card_spec() {
    namespace feature = device::net::feature;
    return {.id = {.name = "virtio-net", .type = 1, .pci_class = 0x020000},
            .features_passed = feature::mq,
            .features_own = feature::ctrl_vq | feature::status,
            .queues = std::vector<virtio::QueueLimits>(card_queues, {.size_max = ring_size}),
            .has_pair_control = true,
            .queues_in_one = 2,
            .config = {0, 0, 0, 0, 0, 0, 1, 0, pairs, 0},
            .link_status_at = device::net::config::status};
}

class Machine {
  public:
    Machine() {
        auto clock = std::make_unique<JumpingClock>();
        clock_ = clock.get();
        bench_.loop = *event::EventLoop::create(std::move(clock));
        bench_.plug_in(std::make_unique<testing::NoDevice>());
    }
    ~Machine() {
        bench_.transport.reset();
        unlink(path_.c_str());
    }

    void run(Input& input) {
        const auto shape = input.take<std::uint8_t>();
        Input steps(input.bytes(input.take<std::uint8_t>()));
        const auto features = steps.take<std::uint64_t>();
        if (plug_in(shape, input)) {
            drive(features);
            while (!steps.empty()) {
                step(steps);
            }
        }
        unplug();
        serve_well(shape);
    }

  private:
    /// False when the device does not take the back end.
    bool plug_in(std::uint8_t shape, const Input& script) {
        is_card_ = (shape & 1) != 0;
        FrontEndSpec spec = is_card_ ? card_spec() : disk_spec();
        spec.packed = (shape & 2) == 0;
        spec.inflight = (shape & 4) == 0;
        has_path_ = (shape & 8) == 0;
        spec.path = has_path_ ? path_ : std::string{};
        int ends[2] = {-1, -1};
        CUPULE_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        back_end_ = std::make_unique<HostileBackEnd>(script, base::FileDescriptor(ends[1]),
                                                     listener_.get());
        const auto began = Steady::now();
        auto connection = FrontEnd::over(base::FileDescriptor(ends[0]), back_end_->quiet_fd());
        if (!connection) {
            CUPULE_ASSERT(Steady::now() - began < at_once);
            return false;
        }
        auto device = FrontEndDevice::create(
            std::move(spec),
            {.memory = *bench_.memory, .loop = *bench_.loop, .monitor = bench_.monitor},
            std::move(*connection));
        CUPULE_ASSERT(Steady::now() - began < at_once);
        if (!device) {
            return false;
        }
        device_ = device->get();
        bench_.plug_in(std::move(*device));
        return true;
    }
    void unplug() {
        const auto began = Steady::now();
        device_ = nullptr;
        bench_.plug_in(std::make_unique<testing::NoDevice>());
        CUPULE_ASSERT(Steady::now() - began < at_once);
        back_end_.reset();
    }

    /// DRIVER_OK; `choice` says which of the offered features the driver leaves.
    void drive(std::uint64_t choice) {
        bench_.set_status(0);
        features_ = bench_.offered() & ~choice;
        features_ |= virtio::feature::version_1;
        drivers_ = {};
        if (!bench_.negotiate(features_)) {
            return;
        }
        const bool all = !is_card_ || (features_ & device::net::feature::mq) != 0;
        queues_ = is_card_ ? (all ? card_queues : 3) : disk_queues;
        for (std::uint16_t index = 0; index < queues_; ++index) {
            set_queue(index);
        }
        bench_.drive();
    }
    void set_queue(std::uint16_t index) {
        drivers_[index] = std::make_unique<VirtioDriver>(
            *bench_.memory, VirtioDriver::Options{.features = features_,
                                                  .size = ring_size,
                                                  .base = {rings_at + index * ring_stride}});
        bench_.set_queue(index, drivers_[index]->geometry());
    }

    void step(Input& steps) {
        namespace common = virtio::pci_layout::common;
        const auto choice = steps.take<std::uint8_t>();
        const auto detail = static_cast<std::uint8_t>(choice / 16);
        const auto index = static_cast<std::uint16_t>(detail % queues_);
        switch (choice % 16) {
            case 0:
            case 1:
                back_end_->poke();
                break;
            case 2:
                drive(steps.take<std::uint64_t>());
                break;
            case 3:
                bench_.set_status(0);
                break;
            case 4:
                bench_.write(
                    virtio::pci_layout::device_offset + device::virtio_blk::config::writeback, 1,
                    detail % 2);
                break;
            case 5:
                bench_.read(virtio::pci_layout::device_offset + steps.take<std::uint8_t>(),
                            1U << (detail % 4));
                break;
            case 6:
                bench_.write(common::queue_select, 2, index);
                bench_.write(common::queue_reset, 2, 1);
                break;
            case 7:
                set_queue(index);
                break;
            case 8:
                submit(index, steps.take<std::uint32_t>());
                break;
            case 9:
                submit(static_cast<std::uint16_t>(queues_ - 1),
                       device::net::control::mq_pairs_set >> 8 |
                           (device::net::control::mq_pairs_set & 0xFFU) << 8 | detail % 4U << 16);
                break;
            case 10:
            case 11:
                wait_for_another();
                break;
            case 12:
                write_register(steps);
                break;
            case 13:
                switch_bus_mastering(detail % 2 != 0);
                break;
            default:
                break;
        }
        turn();
    }
    void turn() {
        for (int i = 0; i < 3; ++i) {
            bench_.loop->run_once(0);
        }
    }
    /// Four bytes out, one in.
    void submit(std::uint16_t index, std::uint32_t bytes) {
        VirtioDriver* const driver = drivers_[index].get();
        if (driver == nullptr) {
            return;
        }
        CUPULE_ASSERT(bench_.memory->store<std::uint32_t>({buffers_at}, bytes));
        const std::array<VirtioDriver::Buffer, 2> buffers{
            {{.address = {buffers_at}, .length = 4},
             {.address = {buffers_at + 64}, .length = 1, .writable = true}}};
        static_cast<void>(driver->submit(buffers, 1));
        driver->publish();
        bench_.notify(index);
        turn();
        while (driver->violation().empty() && driver->collect()) {
        }
    }
    /// Until a back end is there again, has gone again or hangs; not for long, where nobody comes.
    void wait_for_another() {
        const unsigned before = back_end_->ended();
        clock_->ahead_ns += 10 * event::ns_per_s;
        bench_.loop->clock_jumped();
        turn();
        const auto over = [&] {
            return connected() || back_end_->ended() != before || back_end_->hangs();
        };
        for (int i = 0; i < 200 && has_path_ && !over(); ++i) {
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    }
    bool connected() {
        event::MutexLock lock(bench_.monitor);
        return device_->connected();
    }
    void write_register(Input& steps) {
        const std::uint64_t offset = steps.take<std::uint8_t>() & 0x3FU;
        const unsigned size = 1U << (offset % 3U);
        bench_.write(offset, size, steps.take<std::uint16_t>());
    }
    /// Queues come back without a reset, and start again.
    void switch_bus_mastering(bool on) { bench_.write_config(pci::config::command, 2, on ? 7 : 3); }

    void serve_well(std::uint8_t shape) {
        const std::uint8_t zero = 0;
        switch_bus_mastering(true);
        CUPULE_ASSERT(plug_in(shape & 7, Input(&zero, 0)));
        drive(0);
        turn();
        CUPULE_ASSERT(bench_.status() == 0x0F && connected());
        bench_.set_status(0);
        turn();
        CUPULE_ASSERT(bench_.status() == 0 && connected());
        unplug();
    }

    const std::string path_ = fmt::format("/tmp/fuzz-vhost-front-end-{}", getpid());
    base::FileDescriptor listener_ = *backend::listen_unix(path_, 16);
    VirtioPciBench bench_;
    JumpingClock* clock_ = nullptr;
    std::unique_ptr<HostileBackEnd> back_end_;
    FrontEndDevice* device_ = nullptr;
    bool is_card_ = false;
    bool has_path_ = false;
    std::uint64_t features_ = 0;
    std::uint16_t queues_ = 1;
    std::array<std::unique_ptr<VirtioDriver>, card_queues> drivers_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    base::set_log_level(base::LogLevel::error);
    static Machine machine;
    Input input(data, size);
    machine.run(input);
    return 0;
}
