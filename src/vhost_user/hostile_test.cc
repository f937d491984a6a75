// A peer that means harm, at either end: it costs its connection and nothing else.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <thread>

#include "device/storage/virtio_blk.h"
#include "vhost_user/back_end.h"
#include "vhost_user/front_end.h"

namespace cupule::vhost_user {
namespace {

constexpr unsigned timeout_ms = 5000;
constexpr std::uint64_t ram_bytes = 1 << 20;
constexpr std::uint64_t user_base = 0x7000'0000'0000;

std::array<base::FileDescriptor, 2> make_sockets() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    return {base::FileDescriptor(ends[0]), base::FileDescriptor(ends[1])};
}

base::FileDescriptor make_ram(std::uint64_t bytes = ram_bytes) {
    base::FileDescriptor file(memfd_create("ram", MFD_CLOEXEC));
    EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(bytes)), 0);
    return file;
}

/// A disk's back end and a front end that says what it likes.
class HostileFrontEnd : public ::testing::Test {
  protected:
    HostileFrontEnd() { connect(); }
    ~HostileFrontEnd() override {
        event::MutexLock lock(monitor_);
        back_end_.reset();
    }

    void connect() {
        auto [theirs, ours] = make_sockets();
        ended_ = false;
        event::MutexLock lock(monitor_);
        back_end_.reset();
        back_end_ = std::move(
            *BackEnd::create({.device = device_, .loop = *loop_, .monitor = monitor_, .queues = 2},
                             std::move(theirs), [this] { ended_ = true; }));
        peer_.emplace(std::move(ours));
    }
    void turn() {
        for (int i = 0; i < 8; ++i) {
            loop_->run_once(0);
        }
    }
    /// Whether the back end goes on after it.
    bool takes(const Message& message) {
        if (!peer_->send(message, timeout_ms)) {
            return false;
        }
        turn();
        return !ended_;
    }
    bool answers() {
        if (!takes(make_message(Request::get_features))) {
            return false;
        }
        // Answers to what came before may stand in front.
        for (int i = 0; i < 64; ++i) {
            const auto answer = peer_->wait(timeout_ms);
            if (!answer) {
                return false;
            }
            if (answer->request == static_cast<std::uint32_t>(Request::get_features)) {
                return true;
            }
        }
        return false;
    }
    static Message memory_of(const MemoryRegion& region, base::FileDescriptor file) {
        Message message = make_message(Request::set_mem_table, MemoryTableHead{.count = 1});
        message.put(region);
        message.descriptors.push_back(std::move(file));
        return message;
    }
    static Message with_file(Request request, std::uint64_t word, base::FileDescriptor file) {
        Message message = make_message(request, word);
        message.descriptors.push_back(std::move(file));
        return message;
    }
    /// All up to a running ring 0; false when the connection ended on the way.
    bool start_ring(base::FileDescriptor ram) {
        const VringAddress at{.index = 0,
                              .descriptors = user_base,
                              .used = user_base + 0x2000,
                              .available = user_base + 0x1000};
        return takes(make_message(Request::set_features, std::uint64_t{1} << 32)) &&
               takes(memory_of({.size = ram_bytes, .user_address = user_base}, std::move(ram))) &&
               takes(make_message(Request::set_vring_num, VringState{.index = 0, .number = 64})) &&
               takes(make_message(Request::set_vring_base, VringState{})) &&
               takes(make_message(Request::set_vring_addr, at)) &&
               takes(with_file(Request::set_vring_kick, 0, std::move(*base::make_eventfd())));
    }

    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("disk");
    std::array<event::Worker*, 1> workers_{worker_.get()};
    device::VirtioBlk device_{{.serial = "hostile", .queues = 2}, nullptr, workers_};
    std::unique_ptr<event::EventLoop> loop_ = *event::EventLoop::create();
    event::Monitor monitor_;
    std::unique_ptr<BackEnd> back_end_;
    std::optional<Connection> peer_;
    bool ended_ = false;
};

TEST_F(HostileFrontEnd, ASoundOneRunsARing) {
    EXPECT_TRUE(start_ring(make_ram()));
    EXPECT_TRUE(answers());
}

TEST_F(HostileFrontEnd, MessagesThatAreNoneEndTheConnection) {
    const Message bad[] = {
        {.request = 0},
        {.request = 99},
        {.request = 1, .flags = 0},
        {.request = 1, .flags = flag::version | flag::reply},
        make_message(Request::get_features, std::uint64_t{1}),
        make_message(Request::set_features, std::uint32_t{1}),
        make_message(Request::set_features, ~std::uint64_t{0}),
        make_message(Request::set_protocol_features, ~std::uint64_t{0}),
        make_message(Request::set_vring_num, VringState{.index = 2, .number = 8}),
        make_message(Request::set_vring_num, VringState{.index = 0, .number = 0}),
        make_message(Request::set_vring_num, VringState{.index = 0, .number = 0x10'0000}),
        make_message(Request::set_vring_enable, VringState{.index = 0, .number = 7}),
        make_message(Request::set_vring_enable, VringState{.index = ~0U, .number = 1}),
        make_message(Request::get_vring_base, VringState{.index = 77}),
        make_message(Request::set_vring_kick, std::uint64_t{0}),
        make_message(Request::set_vring_kick, std::uint64_t{vring_file::no_descriptor}),
        make_message(Request::get_config, ConfigHead{.offset = 0, .size = 8}),
        make_message(Request::get_config, ConfigHead{.offset = ~0U, .size = 0}),
        make_message(Request::set_mem_table, MemoryTableHead{.count = 1}),
        make_message(Request::get_inflight_fd, Inflight{.queues = 0xFFFF, .queue_size = 0xFFFF}),
        make_message(Request::set_backend_req_fd),
    };
    for (const Message& message : bad) {
        EXPECT_FALSE(takes(message)) << message.request << " of " << message.size;
        connect();
    }
    EXPECT_TRUE(answers());
}

TEST_F(HostileFrontEnd, MemoryThatCannotBeEndsTheConnection) {
    const MemoryRegion bad[] = {
        {.size = 0},
        {.size = ram_bytes + 4096},
        {.size = ram_bytes, .file_offset = 4096},
        {.size = ~0ULL << 12, .user_address = user_base},
        {.guest_address = 0x800, .size = 4096},
        {.guest_address = ~0ULL << 12, .size = ram_bytes},
        {.size = ram_bytes, .user_address = ~0ULL << 12},
        {.size = 4096, .file_offset = ~0ULL << 12},
    };
    for (const MemoryRegion& region : bad) {
        EXPECT_FALSE(takes(memory_of(region, make_ram()))) << region.size;
        connect();
    }
    Message overlapping = make_message(Request::set_mem_table, MemoryTableHead{.count = 2});
    for (int i = 0; i < 2; ++i) {
        overlapping.put(MemoryRegion{.size = ram_bytes, .user_address = user_base});
        overlapping.descriptors.push_back(make_ram());
    }
    EXPECT_FALSE(takes(overlapping));
}

TEST_F(HostileFrontEnd, RingsOutsideOfRamEndTheConnection) {
    EXPECT_TRUE(start_ring(make_ram()));
    connect();
    EXPECT_FALSE(takes(make_message(Request::set_features, std::uint64_t{1} << 32)) &&
                 takes(memory_of({.size = ram_bytes, .user_address = user_base}, make_ram())) &&
                 takes(make_message(Request::set_vring_num, VringState{.number = 64})) &&
                 takes(make_message(Request::set_vring_addr,
                                    VringAddress{.descriptors = user_base + ram_bytes - 16,
                                                 .used = user_base,
                                                 .available = user_base})) &&
                 takes(with_file(Request::set_vring_kick, 0, std::move(*base::make_eventfd()))));
}

TEST_F(HostileFrontEnd, ABellThatIsNoEventfdEndsTheConnection) {
    EXPECT_FALSE(takes(with_file(Request::set_vring_kick, 0, make_ram())));
    connect();
    EXPECT_FALSE(takes(with_file(Request::set_vring_call, 1, std::move(make_sockets()[0]))));
}

TEST_F(HostileFrontEnd, RamThatIsCutShortReadsAsZeros) {
    base::FileDescriptor ram = make_ram();
    ASSERT_TRUE(start_ring(std::move(*ram.duplicate())));
    ASSERT_EQ(ftruncate(ram.get(), 0), 0);
    base::FileDescriptor kick = std::move(*base::make_eventfd());
    // The ring is looked at again.
    static_cast<void>(takes(with_file(Request::set_vring_kick, 0, std::move(*kick.duplicate()))));
    base::signal_eventfd(kick.get());
    worker_->call([] {});
    connect();
    EXPECT_TRUE(answers());
}

TEST_F(HostileFrontEnd, AnInflightAreaThatIsCutShortCostsNothingElse) {
    Message message =
        make_message(Request::set_inflight_fd,
                     Inflight{.size = 4096, .offset = 0, .queues = 1, .queue_size = 64});
    base::FileDescriptor area = make_ram(4096);
    message.descriptors.push_back(std::move(*area.duplicate()));
    ASSERT_TRUE(takes(message));
    ASSERT_EQ(ftruncate(area.get(), 0), 0);
    static_cast<void>(start_ring(make_ram()));
    connect();
    EXPECT_TRUE(answers());
}

TEST_F(HostileFrontEnd, Class16_RandomMessagesNeverEndTheProcess) {
    std::mt19937 random(11);
    for (int round = 0; round < 2000; ++round) {
        Message message{.request = static_cast<std::uint32_t>(random() % 42),
                        .flags = flag::version | (random() % 2 != 0 ? flag::need_reply : 0)};
        constexpr std::array<std::uint32_t, 6> sizes{0, 8, 8, 8, 40, 24};
        for (std::uint32_t i = 0; i < sizes[random() % sizes.size()]; ++i) {
            message.put(static_cast<std::uint8_t>(random() % 4 == 0 ? random() : random() % 2));
        }
        if (random() % 2 == 0) {
            message.descriptors.push_back(random() % 2 == 0 ? make_ram()
                                                            : std::move(*base::make_eventfd()));
        }
        if (!takes(message)) {
            connect();
        }
        while (!ended_ && peer_->receive().value_or(std::nullopt)) {
        }
    }
    connect();
    EXPECT_TRUE(answers());
}

TEST(Connection, AMessageThatIsTooLongOrCutShortIsAnError) {
    auto [a, b] = make_sockets();
    Connection reader(std::move(a));
    const Header head{.request = 1, .flags = 1, .size = payload_bytes_max + 1};
    ASSERT_EQ(write(b.get(), &head, sizeof head), static_cast<ssize_t>(sizeof head));
    EXPECT_FALSE(reader.receive().has_value());

    auto [c, d] = make_sockets();
    Connection patient(std::move(c));
    ASSERT_EQ(write(d.get(), &head, 5), 5);
    const auto nothing = patient.receive();
    ASSERT_TRUE(nothing.has_value());
    EXPECT_FALSE(nothing->has_value());
    d.close();
    EXPECT_FALSE(patient.receive().has_value());
}

// Whoever has a copy of the socket, as a front end has of the back channel's, can change its flags.
TEST(Connection, WaitsNoLongerWhereTheOtherEndMakesTheSocketBlock) {
    auto [a, b] = make_sockets();
    Connection connection(std::move(*a.duplicate()));
    ASSERT_EQ(fcntl(a.get(), F_SETFL, 0), 0);
    const auto nothing = connection.receive();
    ASSERT_TRUE(nothing.has_value());
    EXPECT_FALSE(nothing->has_value());
    bool full = false;
    for (int i = 0; i < 100'000 && !full; ++i) {
        full = !connection.send(make_message(Request::set_owner), 0).has_value();
    }
    EXPECT_TRUE(full);
}

TEST(Connection, CarriesPayloadAndDescriptors) {
    auto [a, b] = make_sockets();
    Connection writer(std::move(a));
    Connection reader(std::move(b));
    Message message = make_message(Request::set_features, std::uint64_t{0x1234});
    for (std::size_t i = 0; i < descriptors_max; ++i) {
        message.descriptors.push_back(make_ram(4096 * (i + 1)));
    }
    ASSERT_TRUE(writer.send(message, timeout_ms));
    ASSERT_TRUE(writer.send(make_message(Request::set_owner), timeout_ms));
    const auto got = reader.wait(timeout_ms);
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->get<std::uint64_t>(), 0x1234U);
    ASSERT_EQ(got->descriptors.size(), descriptors_max);
    EXPECT_EQ(lseek(got->descriptors[7].get(), 0, SEEK_END), 8 * 4096);
    EXPECT_TRUE(reader.wait(timeout_ms)->descriptors.empty());
}

/// A back end that answers each request with a message of the test's making.
class HostileBackEnd : public ::testing::Test {
  protected:
    using Change = std::function<void(Message& answer)>;
    /// What becomes of a connection whose answers to `request` are changed.
    static bool survives(Request request, const Change& change) {
        auto [ours, theirs] = make_sockets();
        std::thread back_end([socket = std::move(theirs), request, &change]() mutable {
            Connection connection(std::move(socket));
            for (;;) {
                const auto message = connection.wait(timeout_ms);
                if (!message) {
                    return;
                }
                Message answer{.request = message->request, .flags = flag::version | flag::reply};
                const auto asked = static_cast<Request>(message->request);
                if (asked == Request::get_config) {
                    answer.put_bytes(message->bytes());
                } else if (asked == Request::get_inflight_fd) {
                    answer.put(message->get<Inflight>());
                    answer.descriptors.push_back(make_ram(4096));
                } else {
                    const bool offers = asked == Request::get_features;
                    answer.put(offers ? has_protocol_features
                                      : std::uint64_t{asked == Request::get_protocol_features
                                                          ? protocol_feature::config |
                                                                protocol_feature::inflight_shmfd |
                                                                protocol_feature::reply_ack
                                                          : 0});
                }
                if (asked == request) {
                    change(answer);
                }
                if ((has_reply(asked) || message->needs_reply()) &&
                    !connection.send(answer, timeout_ms)) {
                    return;
                }
            }
        });
        bool good = false;
        {
            auto front_end = FrontEnd::over(std::move(ours));
            good = front_end && (*front_end)->read_config(60) &&
                   (*front_end)->make_inflight(1, 64) && (*front_end)->write_config(0, {});
        }
        back_end.join();
        return good;
    }
};

TEST_F(HostileBackEnd, Class16_AnswersThatAreNoneEndTheConnection) {
    EXPECT_TRUE(survives(Request::get_features, [](Message&) {}));
    const Change changes[] = {
        [](Message& answer) { answer.request += 1; },
        [](Message& answer) { answer.flags = flag::version; },
        [](Message& answer) { answer.flags = flag::reply; },
        [](Message& answer) { answer.size -= 4; },
        [](Message& answer) { answer.put(std::uint32_t{0}); },
    };
    for (const Request request : {Request::get_features, Request::get_protocol_features,
                                  Request::get_config, Request::set_owner, Request::set_config}) {
        for (const Change& change : changes) {
            EXPECT_FALSE(survives(request, change)) << static_cast<std::uint32_t>(request);
        }
    }
    EXPECT_FALSE(
        survives(Request::get_inflight_fd, [](Message& answer) { answer.descriptors.clear(); }));
    EXPECT_FALSE(survives(Request::get_config, [](Message& answer) { answer.size = 0; }));
    EXPECT_FALSE(
        survives(Request::set_owner, [](Message& answer) { answer.payload[0] = std::byte{1}; }));
}

TEST_F(HostileBackEnd, ConfigurationThatItDoesNotTakeEndsNothing) {
    EXPECT_TRUE(
        survives(Request::set_config, [](Message& answer) { answer.payload[0] = std::byte{1}; }));
}

}  // namespace
}  // namespace cupule::vhost_user
