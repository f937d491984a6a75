#include <gtest/gtest.h>

#include <string>

#include "device/network/virtio_vsock.h"
#include "device/network/vsock_protocol.h"
#include "oracle.h"
#include "testing/fake_stream_host.h"

namespace cupule::testing {
namespace {

using device::vsock::Header;
namespace vsock = device::vsock;
namespace operation = device::vsock::operation;

constexpr std::uint32_t guest_cid = 5;
constexpr std::uint32_t served_port = 80;
constexpr std::uint16_t receive = 0;
constexpr std::uint16_t transmit = 1;
constexpr std::uint32_t guest_buffer = 1 << 20;
constexpr std::uint32_t packet_bytes = sizeof(Header) + 1000;

/// Connections from the guest to a program of the host, bytes both ways, and their end.
class SocketOracle : public Oracle {
  public:
    std::unique_ptr<virtio::Device> make(unsigned /*units*/, VirtioPciBench& /*bench*/) override {
        worker_->call([this] { host_.served = {served_port}; });
        return std::make_unique<device::VirtioVsock>(guest_cid, host_, *worker_);
    }

    std::vector<Meeting> meetings() const override { return {{.queues = 3}}; }

    void exchange(Guest& guest, const Meeting& /*meeting*/) override {
        for (int i = 0; i < 3 && !::testing::Test::HasFailure(); ++i) {
            ++port_;
            forwarded_ = 0;
            say(guest, operation::request, {});
            EXPECT_EQ(hear(guest, nullptr), operation::response);
            const auto end = worker_->call([&] { return host_.ends.back(); });
            talk(guest, *end);
            say(guest, operation::reset, {});
            worker_->call([&] { EXPECT_TRUE(end->destroyed); });
        }
    }

  private:
    void talk(Guest& guest, FakeStreamEnd& end) {
        std::string out;
        for (int i = 0; i < 4; ++i) {
            const std::string part = text(guest, 1500);
            say(guest, operation::data, part);
            out += part;
        }
        worker_->call([&] { EXPECT_EQ(end.written, out); });

        const std::string in = text(guest, 5000);
        worker_->call([&] { end.send(in); });
        std::string got;
        while (got.size() < in.size() && !::testing::Test::HasFailure()) {
            hear(guest, &got);
        }
        EXPECT_EQ(got, in);
    }

    static std::string text(Guest& guest, std::uint32_t bytes_max) {
        std::string result(1 + guest.random(bytes_max), 0);
        for (char& letter : result) {
            letter = static_cast<char>(guest.random(256));
        }
        return result;
    }

    void say(Guest& guest, std::uint16_t what, std::string_view data) {
        const Header header{.source_cid = guest_cid,
                            .target_cid = vsock::host_cid,
                            .source_port = port_,
                            .target_port = served_port,
                            .length = static_cast<std::uint32_t>(data.size()),
                            .type = vsock::type_stream,
                            .operation = what,
                            .buffer_bytes = guest_buffer,
                            .forwarded_bytes = forwarded_};
        std::vector<std::byte> out;
        append(out, bytes_of(header));
        append(out, std::as_bytes(std::span(data)));
        EXPECT_TRUE(guest.request(transmit, out, 0).empty());
    }

    /// The next packet that is no account of room: its operation; data go to `data`.
    std::uint16_t hear(Guest& guest, std::string* data) {
        Header header;
        do {
            while (guest.ask(receive, {}, packet_bytes)) {
            }
            guest.kick(receive);
            const auto bytes = guest.wait(receive).bytes;
            header = structure_in<Header>(bytes);
            EXPECT_EQ(bytes.size(), sizeof header + header.length);
            EXPECT_EQ(header.source_cid, vsock::host_cid);
            EXPECT_EQ(header.target_port, port_);
            if (data != nullptr && bytes.size() > sizeof header) {
                data->append(reinterpret_cast<const char*>(bytes.data()) + sizeof header,
                             bytes.size() - sizeof header);
                forwarded_ += header.length;
            }
        } while (header.operation == operation::credit_update && !::testing::Test::HasFailure());
        return header.operation;
    }

    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("vsock");
    FakeStreamHost host_;
    std::uint32_t port_ = 1000;
    std::uint32_t forwarded_ = 0;
};

}  // namespace

std::unique_ptr<Oracle> make_socket_oracle() {
    return std::make_unique<SocketOracle>();
}

}  // namespace cupule::testing
