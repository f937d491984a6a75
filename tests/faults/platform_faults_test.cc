#include <gtest/gtest.h>

#include <vector>

#include "backend/entropy_source.h"
#include "device/network/vhost_vsock.h"
#include "device/platform/virtio_balloon.h"
#include "device/platform/virtio_rnd.h"
#include "driven_device.h"
#include "event/worker.h"
#include "fake_vhost.h"
#include "virtio/vhost_ioctl.h"
#include "virtio/vhost_kernel.h"

namespace cupule::device {
namespace {

using testing::DrivenDevice;
using testing::FaultPlan;
using testing::good;
using testing::open_vhost;
using testing::VirtioDriver;

constexpr std::uint64_t data_at = 4 << 20;

TEST(PlatformFaultsTest, EntropyEndsItsRequestsWhateverTheHostDoes) {
    const unsigned met = testing::walk_host_faults(300, [](const FaultPlan& plan) {
        DrivenDevice device;
        backend::KernelEntropy entropy;
        testing::start_host_faults(plan);
        auto worker = event::Worker::create("test");
        if (!good(worker) ||
            !good(device.bench().try_to_plug_in(std::make_unique<VirtioRnd>(entropy, **worker)))) {
            return;
        }
        const VirtioDriver::Buffer buffer{{data_at}, 256, true};
        const auto ask = [&] {
            ASSERT_TRUE(device.submit(0, {&buffer, 1}));
            if (const auto used = device.answer(0)) {
                EXPECT_TRUE(used->written == 256 || testing::stop_host_faults().fired);
            }
        };
        if (device.start(0)) {
            ask();
        }
        if (!device.asks_for_reset()) {
            ask();
        }
        testing::stop_host_faults();
        ASSERT_TRUE(device.start(0));
        ask();
        device.bench().set_status(0);
    });
    EXPECT_GT(met, 20U);
}

TEST(PlatformFaultsTest, ABalloonTakesPagesWhateverTheHostDoes) {
    const unsigned met = testing::walk_host_faults(300, [](const FaultPlan& plan) {
        DrivenDevice device(2);
        testing::start_host_faults(plan);
        auto worker = event::Worker::create("test");
        if (!good(worker) || !good(device.bench().try_to_plug_in(std::make_unique<VirtioBalloon>(
                                 VirtioBalloonSpec{}, *device.bench().memory, **worker)))) {
            return;
        }
        const VirtioDriver::Buffer pages{{data_at}, 8, false};
        const auto ask = [&](std::uint16_t queue) {
            ASSERT_TRUE(device.bench().memory->store<std::uint64_t>({data_at}, 0x0501'0000'0500));
            ASSERT_TRUE(device.submit(queue, {&pages, 1}));
            device.answer(queue);
        };
        const auto both = [&] {
            ask(0);
            if (!device.asks_for_reset()) {
                ask(1);
            }
        };
        if (device.start(0)) {
            both();
        }
        testing::stop_host_faults();
        ASSERT_TRUE(device.start(0));
        both();
        device.bench().set_status(0);
    });
    EXPECT_GT(met, 20U);
}

/// The kernel's end of vhost, as far as a start and a stop ask.
int vhost_answer(unsigned long request, void* argument) {
    if (request == VHOST_GET_FEATURES) {
        *static_cast<std::uint64_t*>(argument) = virtio::feature::version_1;
    }
    return 0;
}

TEST(PlatformFaultsTest, AVsockOfTheKernelStartsOrSaysWhyNot) {
    testing::answer_ioctls(&vhost_answer);
    const unsigned met = testing::walk_host_faults(300, [](const FaultPlan& plan) {
        DrivenDevice device(3);
        testing::start_host_faults(plan);
        auto kernel = open_vhost(device.bench());
        if (!good(kernel) || !good(set_guest_cid(**kernel, 42)) ||
            !good(device.bench().try_to_plug_in(std::make_unique<VhostVsock>(42, **kernel)))) {
            return;
        }
        device.start(0);
        device.bench().set_status(0);
        testing::stop_host_faults();
        EXPECT_TRUE(device.start(0));
        device.bench().set_status(0);
    });
    testing::answer_ioctls({});
    EXPECT_GT(met, 20U);
}

}  // namespace
}  // namespace cupule::device
