#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/entropy_source.h"
#include "device/network/virtio_net.h"
#include "device/network/virtio_vsock.h"
#include "device/platform/virtio_balloon.h"
#include "device/platform/virtio_rnd.h"
#include "device/serial/virtio_console.h"
#include "device/storage/virtio_blk.h"
#include "event/worker.h"
#include "testing/fake_byte_channel.h"
#include "testing/fake_net_port.h"
#include "testing/fake_stream_host.h"
#include "testing/memory_disk.h"
#include "testing/virtio_pci_bench.h"

namespace cupule::testing {

/// A virtio device of each kind, with back ends that never wait.
class EveryDevice : public ::testing::TestWithParam<const char*> {
  protected:
    EveryDevice() { bench_.plug_in(make(GetParam())); }

    std::unique_ptr<virtio::Device> make(const std::string& name) {
        if (name == "blk") {
            return std::make_unique<device::VirtioBlk>(device::VirtioBlkSpec{.discard = true},
                                                       &disk_, workers_);
        }
        if (name == "net") {
            const std::vector<device::NetPairPowers> pairs{{.port = port_, .worker = *worker_}};
            return std::make_unique<device::VirtioNet>(device::VirtioNetSpec{}, pairs);
        }
        if (name == "console") {
            std::vector<device::ConsolePortPowers> ports;
            ports.push_back({.spec = {.name = "one", .console = true}, .channel = channels_[0]});
            ports.push_back({.spec = {.name = "two"}, .channel = channels_[1]});
            return std::make_unique<device::VirtioConsole>(ports, *worker_);
        }
        if (name == "balloon") {
            return std::make_unique<device::VirtioBalloon>(device::VirtioBalloonSpec{},
                                                           *bench_.memory, *worker_);
        }
        if (name == "vsock") {
            return std::make_unique<device::VirtioVsock>(5, streams_, *worker_);
        }
        return std::make_unique<device::VirtioRnd>(entropy_, *worker_);
    }

    /// Something from outside that wakes the device.
    void disturb() {
        worker_->call([this] {
            if (port_.incoming.size() < 8) {
                port_.come(FakeNetPort::Frame(100, 0x33));
            }
            port_.sent.clear();
            if (channels_[0].incoming.size() < 64) {
                channels_[0].send("text");
            }
            channels_[0].written.clear();
            channels_[1].written.clear();
        });
    }

    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("test");
    std::vector<event::Worker*> workers_{worker_.get()};
    MemoryDisk disk_;
    backend::KernelEntropy entropy_;
    FakeNetPort port_;
    std::array<FakeByteChannel, 2> channels_;
    FakeStreamHost streams_;
    VirtioPciBench bench_;
};

inline constexpr std::array every_device{"balloon", "blk", "console", "net", "rnd", "vsock"};

/// The parameter is the name.
inline std::string name_of_device(const ::testing::TestParamInfo<const char*>& device) {
    return device.param;
}

}  // namespace cupule::testing
