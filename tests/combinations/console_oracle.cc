#include <gtest/gtest.h>

#include <string>

#include "base/bits.h"
#include "device/serial/virtio_console.h"
#include "oracle.h"
#include "testing/fake_byte_channel.h"

namespace cupule::testing {
namespace {

constexpr std::uint64_t size_feature = base::bit(0);       // VIRTIO_CONSOLE_F_SIZE
constexpr std::uint64_t multiport_feature = base::bit(1);  // VIRTIO_CONSOLE_F_MULTIPORT

/// struct virtio_console_control (5.3.6.2).
struct Control {
    std::uint32_t id = 0;
    std::uint16_t event = 0;
    std::uint16_t value = 0;
    bool operator==(const Control&) const = default;
};
constexpr std::uint16_t device_ready = 0;
constexpr std::uint16_t device_add = 1;
constexpr std::uint16_t port_ready = 3;
constexpr std::uint16_t console_port = 4;
constexpr std::uint16_t port_open = 6;
constexpr std::uint16_t port_name = 7;

constexpr std::uint16_t ports_max = device::VirtioConsole::ports_max;
constexpr std::uint64_t ports_at = 4;  // max_nr_ports in struct virtio_console_config (5.3.4)
constexpr std::uint16_t control_in = 2;
constexpr std::uint16_t control_out = 3;

/// Text both ways through every port, cut anywhere.
class ConsoleOracle : public Oracle {
  public:
    std::unique_ptr<virtio::Device> make(unsigned units, VirtioPciBench& /*bench*/) override {
        std::vector<device::ConsolePortPowers> ports;
        for (unsigned i = 0; i < units; ++i) {
            channels_[i] = {};
            ports.push_back(
                {.spec = {.name = name_of(i), .console = i == 0}, .channel = channels_[i]});
        }
        return std::make_unique<device::VirtioConsole>(ports, *worker_);
    }

    std::vector<Meeting> meetings() const override {
        return {{.units = 1, .features = 0, .queues = 2},
                {.units = 2, .features = size_feature, .queues = 2},
                {.units = 1, .features = multiport_feature, .queues = 4},
                {.units = 3, .features = multiport_feature | size_feature, .queues = 8},
                {.units = ports_max, .features = multiport_feature, .queues = 2 * ports_max + 2}};
    }

    /// What Linux does.
    void introduce(Guest& guest, const Meeting& meeting) override {
        EXPECT_EQ(guest.read_config(ports_at, 4), meeting.units);
        if (!guest.agreed(multiport_feature)) {
            return;
        }
        offer_room(guest, control_in);
        tell(guest, {.id = 0, .event = device_ready, .value = 1});
        for (std::uint32_t port = 0; port < meeting.units; ++port) {
            EXPECT_EQ(hear(guest), (Control{port, device_add, 1}));
        }
        for (std::uint32_t port = 0; port < meeting.units; ++port) {
            tell(guest, {.id = port, .event = port_ready, .value = 1});
            if (port == 0) {
                EXPECT_EQ(hear(guest), (Control{port, console_port, 1}));
            }
            std::string name;
            EXPECT_EQ(hear(guest, &name), (Control{port, port_name, 1}));
            EXPECT_EQ(name, name_of(port));
            EXPECT_EQ(hear(guest), (Control{port, port_open, 1}));
            tell(guest, {.id = port, .event = port_open, .value = 1});
        }
    }

    void exchange(Guest& guest, const Meeting& meeting) override {
        const unsigned ports = guest.agreed(multiport_feature) ? meeting.units : 1;
        for (int round = 0; round < (ports > 3 ? 1 : 2); ++round) {
            for (unsigned port = 0; port < ports; ++port) {
                const auto in = static_cast<std::uint16_t>(port == 0 ? 0 : 2 + 2 * port);
                put(guest, port, in + 1U);
                get(guest, port, in);
            }
        }
    }

  private:
    static std::string name_of(unsigned port) { return "port " + std::to_string(port); }

    static void offer_room(Guest& guest, std::uint16_t queue) {
        while (guest.ask(queue, {}, 64 + guest.random(100))) {
        }
        guest.kick(queue);
    }

    static void tell(Guest& guest, const Control& message) {
        EXPECT_TRUE(guest.request(control_out, bytes_of(message), 0).empty());
    }

    static Control hear(Guest& guest, std::string* tail = nullptr) {
        const auto bytes = guest.wait(control_in).bytes;
        EXPECT_GE(bytes.size(), sizeof(Control));
        if (tail != nullptr && bytes.size() > sizeof(Control)) {
            tail->assign(reinterpret_cast<const char*>(bytes.data()) + sizeof(Control),
                         bytes.size() - sizeof(Control));
        }
        offer_room(guest, control_in);
        return structure_in<Control>(bytes);
    }

    static std::string text(Guest& guest) {
        std::string result(1 + guest.random(600), 0);
        for (char& letter : result) {
            letter = static_cast<char>(guest.random(256));
        }
        return result;
    }

    void put(Guest& guest, unsigned port, unsigned queue_number) {
        const auto queue = static_cast<std::uint16_t>(queue_number);
        std::string all;
        for (int i = 0; i < 4; ++i) {
            const std::string part = text(guest);
            if (guest.ask(queue, std::as_bytes(std::span(part)), 0)) {
                all += part;
            }
        }
        guest.kick(queue);
        while (guest.outstanding(queue) != 0 && !::testing::Test::HasFailure()) {
            guest.wait(queue);
        }
        worker_->call([&] {
            EXPECT_EQ(channels_[port].written, all);
            channels_[port].written.clear();
        });
    }

    void get(Guest& guest, unsigned port, std::uint16_t queue) {
        const std::string all = text(guest);
        worker_->call([&] { channels_[port].send(all); });
        std::string got;
        while (got.size() < all.size() && !::testing::Test::HasFailure()) {
            offer_room(guest, queue);
            const auto bytes = guest.wait(queue).bytes;
            got.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        }
        EXPECT_EQ(got, all);
    }

    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("console");
    std::array<FakeByteChannel, ports_max> channels_;
};

}  // namespace

std::unique_ptr<Oracle> make_console_oracle() {
    return std::make_unique<ConsoleOracle>();
}

}  // namespace cupule::testing
