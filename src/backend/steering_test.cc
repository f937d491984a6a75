#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "backend/steering_program.h"
#include "backend/tap_port.h"

namespace cupule::backend {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Key = std::array<std::uint8_t, ReceiveSteering::key_bytes>;

/// The key and the vectors of "Verifying the RSS Hash Calculation" (Microsoft, Windows drivers).
constexpr Key microsoft_key{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                            0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                            0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                            0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

struct Vector {
    const char* to;
    std::uint16_t to_port;
    const char* from;
    std::uint16_t from_port;
    std::uint32_t addresses;
    std::uint32_t with_ports;
};
constexpr std::array vectors{
    Vector{"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
    Vector{"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
    Vector{"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
    Vector{"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
    Vector{"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
    Vector{"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
    Vector{"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
    Vector{"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251,
           0x4b61e985, 0x02d1feef},
};

bool is_ipv6(const Vector& vector) {
    return std::string_view(vector.to).contains(':');
}

void append_address(Bytes& bytes, const char* text) {
    std::array<std::uint8_t, 16> address{};
    const bool ipv6 = std::string_view(text).contains(':');
    ASSERT_EQ(inet_pton(ipv6 ? AF_INET6 : AF_INET, text, address.data()), 1);
    bytes.insert(bytes.end(), address.begin(), address.begin() + (ipv6 ? 16 : 4));
}

void append_word(Bytes& bytes, unsigned word) {
    bytes.push_back(static_cast<std::uint8_t>(word >> 8));
    bytes.push_back(static_cast<std::uint8_t>(word));
}

Bytes hash_input(const Vector& vector, bool ports) {
    Bytes bytes;
    append_address(bytes, vector.from);
    append_address(bytes, vector.to);
    if (ports) {
        append_word(bytes, vector.from_port);
        append_word(bytes, vector.to_port);
    }
    return bytes;
}

std::uint32_t hash_by_tables(const Key& key, const Bytes& bytes) {
    const auto tables = std::make_unique<ToeplitzTables>();
    make_toeplitz_tables(key, *tables);
    std::uint32_t hash = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        hash ^= (*tables)[i][bytes[i]];
    }
    return hash;
}

/// By the definition, a bit at a time.
std::uint32_t hash_by_bits(const Key& key, std::span<const std::uint8_t> bytes) {
    std::uint32_t hash = 0;
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
        if ((bytes[bit / 8] >> (7 - bit % 8) & 1) == 0) {
            continue;
        }
        for (std::size_t i = 0; i < 32; ++i) {
            const std::size_t at = bit + i;
            const unsigned key_bit = at < 320 ? key[at / 8] >> (7 - at % 8) & 1U : 0U;
            hash ^= key_bit << (31 - i);
        }
    }
    return hash;
}

TEST(ToeplitzTablesTest, GiveTheHashesThatMicrosoftPublishes) {
    for (const Vector& vector : vectors) {
        EXPECT_EQ(hash_by_tables(microsoft_key, hash_input(vector, false)), vector.addresses);
        EXPECT_EQ(hash_by_tables(microsoft_key, hash_input(vector, true)), vector.with_ports);
    }
}

TEST(ToeplitzTablesTest, AgreeWithTheDefinitionForAnyKey) {
    std::mt19937 random(7);
    for (int round = 0; round < 50; ++round) {
        Key key;
        Bytes bytes(hash_input_bytes);
        std::ranges::generate(key, [&] { return static_cast<std::uint8_t>(random()); });
        std::ranges::generate(bytes, [&] { return static_cast<std::uint8_t>(random()); });
        EXPECT_EQ(hash_by_tables(key, bytes), hash_by_bits(key, bytes));
    }
}

// The program.

/// How a test's frames differ from the plain one.
struct Shape {
    std::uint8_t protocol = IPPROTO_TCP;
    unsigned tags = 0;
    unsigned option_words = 0;               // IPv4
    std::vector<std::uint8_t> extensions{};  // IPv6: types of headers
    unsigned fragment = 0;                   // IPv4: flags and offset
};

/// An Ethernet frame from one end of a vector to the other.
Bytes frame_of(const Vector& vector, const Shape& shape = {}) {
    Bytes frame{0, 0x16, 0x3E, 0, 0, 1, 2, 0, 0, 0, 0, 9};
    for (unsigned i = 0; i < shape.tags; ++i) {
        append_word(frame, i % 2 == 0 ? 0x8100 : 0x88A8);
        append_word(frame, 5);
    }
    if (!is_ipv6(vector)) {
        append_word(frame, 0x0800);
        const Bytes head{static_cast<std::uint8_t>(0x45 + shape.option_words), 0, 0, 60, 0, 1};
        frame.insert(frame.end(), head.begin(), head.end());
        append_word(frame, shape.fragment);
        frame.push_back(64);
        frame.push_back(shape.protocol);
        append_word(frame, 0);
    } else {
        append_word(frame, 0x86DD);
        const std::uint8_t next = shape.extensions.empty() ? shape.protocol : shape.extensions[0];
        const Bytes head{0x60, 0, 0, 0, 0, 40, next, 64};
        frame.insert(frame.end(), head.begin(), head.end());
    }
    append_address(frame, vector.from);
    append_address(frame, vector.to);
    frame.resize(frame.size() + std::size_t{4} * shape.option_words, 1);
    for (std::size_t i = 0; i < shape.extensions.size(); ++i) {
        const bool last = i + 1 == shape.extensions.size();
        frame.push_back(last ? shape.protocol : shape.extensions[i + 1]);
        frame.push_back(static_cast<std::uint8_t>(i % 2));  // 8 or 16 bytes
        frame.resize(frame.size() + 6 + 8 * (i % 2), 1);
    }
    append_word(frame, vector.from_port);
    append_word(frame, vector.to_port);
    frame.resize(frame.size() + 16);
    return frame;
}

/// Rules that show the hash's lowest seven bits as the pair, and frames without one as 1000.
ReceiveSteering showing_rules(std::uint32_t types = hash_type::all) {
    ReceiveSteering rules{.hash_types = types, .key = microsoft_key, .unclassified = 1000};
    rules.table.resize(ReceiveSteering::table_length_max);
    std::iota(rules.table.begin(), rules.table.end(), std::uint16_t{0});
    return rules;
}
constexpr std::uint32_t no_hash = 1000;

class SteeringProgramTest : public ::testing::Test {
  protected:
    void SetUp() override {
        if (const auto tried = load_steering_program(showing_rules()); !tried) {
            GTEST_SKIP() << tried.error().message;
        }
    }

    /// What the kernel's machine answers for a frame; it pulls an Ethernet header off first, which
    /// a tap does not.
    static std::uint32_t answer(const ReceiveSteering& rules, const Bytes& frame) {
        const auto program = load_steering_program(rules);
        EXPECT_TRUE(program.has_value()) << program.error().message;
        return program ? run(program->get(), frame) : ~0U;
    }
    static std::uint32_t run(int program, const Bytes& frame) {
        Bytes bytes(ETH_HLEN);
        bytes.insert(bytes.end(), frame.begin(), frame.end());
        bpf_attr attributes{};
        attributes.test.prog_fd = static_cast<std::uint32_t>(program);
        attributes.test.data_in = reinterpret_cast<std::uintptr_t>(bytes.data());
        attributes.test.data_size_in = static_cast<std::uint32_t>(bytes.size());
        EXPECT_EQ(syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof attributes), 0);
        return attributes.test.retval;
    }
    static std::uint32_t shown(std::uint32_t hash) { return hash & 127; }
};

TEST_F(SteeringProgramTest, AnswersWithThePairThatTheHashNames) {
    for (const Vector& vector : vectors) {
        for (const int protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
            EXPECT_EQ(answer(showing_rules(),
                             frame_of(vector, {.protocol = static_cast<std::uint8_t>(protocol)})),
                      shown(vector.with_ports));
        }
        EXPECT_EQ(answer(showing_rules(), frame_of(vector, {.protocol = IPPROTO_ICMP})),
                  shown(vector.addresses));
    }
}

TEST_F(SteeringProgramTest, HashesOnlyWhatIsAskedFor) {
    const Vector& four = vectors[0];
    const Vector& six = vectors[5];
    const Shape udp{.protocol = IPPROTO_UDP};
    using namespace hash_type;
    EXPECT_EQ(answer(showing_rules(0), frame_of(four)), no_hash);
    EXPECT_EQ(answer(showing_rules(ipv4), frame_of(four)), shown(four.addresses));
    EXPECT_EQ(answer(showing_rules(ipv4), frame_of(six)), no_hash);
    EXPECT_EQ(answer(showing_rules(tcpv4), frame_of(four)), shown(four.with_ports));
    EXPECT_EQ(answer(showing_rules(tcpv4), frame_of(four, udp)), no_hash);
    EXPECT_EQ(answer(showing_rules(udpv4 | ipv4), frame_of(four)), shown(four.addresses));
    EXPECT_EQ(answer(showing_rules(udpv4), frame_of(four, udp)), shown(four.with_ports));
    EXPECT_EQ(answer(showing_rules(ipv6), frame_of(six)), shown(six.addresses));
    EXPECT_EQ(answer(showing_rules(ipv6), frame_of(four)), no_hash);
    EXPECT_EQ(answer(showing_rules(tcpv6), frame_of(six)), shown(six.with_ports));
    EXPECT_EQ(answer(showing_rules(tcpv6), frame_of(six, udp)), no_hash);
    EXPECT_EQ(answer(showing_rules(udpv6), frame_of(six, udp)), shown(six.with_ports));
}

TEST_F(SteeringProgramTest, FindsPortsBehindTagsOptionsAndExtensionHeaders) {
    const Vector& four = vectors[0];
    const Vector& six = vectors[5];
    const auto rules = showing_rules();
    for (unsigned tags = 0; tags <= 3; ++tags) {
        EXPECT_EQ(answer(rules, frame_of(four, {.tags = tags})),
                  tags <= 2 ? shown(four.with_ports) : no_hash);
        EXPECT_EQ(answer(rules, frame_of(six, {.tags = tags})),
                  tags <= 2 ? shown(six.with_ports) : no_hash);
    }
    for (unsigned words = 0; words <= 10; ++words) {
        EXPECT_EQ(answer(rules, frame_of(four, {.option_words = words})), shown(four.with_ports));
    }
    for (std::size_t count = 0; count <= 8; ++count) {
        Shape shape;
        for (std::size_t i = 0; i < count; ++i) {
            shape.extensions.push_back(std::array<std::uint8_t, 3>{0, 43, 60}[i % 3]);
        }
        EXPECT_EQ(answer(rules, frame_of(six, shape)),
                  shown(count <= 6 ? six.with_ports : six.addresses));
    }
}

TEST_F(SteeringProgramTest, KeepsTheFragmentsOfADatagramTogether) {
    const Vector& four = vectors[0];
    constexpr unsigned dont_fragment = 0x4000;
    const auto rules = showing_rules();
    EXPECT_EQ(answer(rules, frame_of(four, {.fragment = dont_fragment})), shown(four.with_ports));
    for (const unsigned fragment : {0x2000U, 0x2001U, 0x0001U, 0x1FFFU}) {
        EXPECT_EQ(answer(rules, frame_of(four, {.fragment = fragment})), shown(four.addresses));
    }
    const Vector& six = vectors[5];
    EXPECT_EQ(answer(rules, frame_of(six, {.extensions = {44}})), shown(six.addresses));
    EXPECT_EQ(answer(rules, frame_of(six, {.extensions = {0, 44}})), shown(six.addresses));
}

TEST_F(SteeringProgramTest, Class4_FramesThatAreCutShortOrLieAreNotHashed) {
    const auto rules = showing_rules();
    for (const Vector& vector : {vectors[0], vectors[5]}) {
        const std::size_t addresses_end = is_ipv6(vector) ? 14 + 40 : 14 + 20;
        const Bytes whole = frame_of(vector);
        for (std::size_t bytes = 1; bytes < whole.size(); ++bytes) {
            const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes));
            const std::uint32_t expected = bytes < addresses_end       ? no_hash
                                           : bytes < addresses_end + 4 ? shown(vector.addresses)
                                                                       : shown(vector.with_ports);
            EXPECT_EQ(answer(rules, cut), expected) << bytes;
        }
        for (const int first : {0x00, 0x55, 0x44, 0x40, 0xF5, 0x75}) {
            Bytes wrong = whole;
            wrong[14] = static_cast<std::uint8_t>(first);
            EXPECT_EQ(answer(rules, wrong), no_hash) << first;
        }
    }
}

TEST_F(SteeringProgramTest, AnyFrameGetsAnAnswerFromTheTable) {
    const auto program = load_steering_program(showing_rules());
    ASSERT_TRUE(program.has_value());
    std::mt19937 random(11);
    const Bytes four = frame_of(vectors[0]);
    const Bytes six = frame_of(vectors[5], {.extensions = {0, 43, 60}});
    for (int round = 0; round < 3000; ++round) {
        Bytes frame = round % 2 == 0 ? four : six;
        for (unsigned i = 0; i < 1 + random() % 4; ++i) {
            frame[12 + random() % (frame.size() - 12)] = static_cast<std::uint8_t>(random());
        }
        const std::uint32_t pair = run(program->get(), frame);
        EXPECT_TRUE(pair < 128 || pair == no_hash) << pair;
    }
}

TEST_F(SteeringProgramTest, TheTableMayBeShort) {
    for (const std::size_t length : {1U, 2U, 16U}) {
        ReceiveSteering rules = showing_rules();
        rules.table.resize(length);
        EXPECT_EQ(answer(rules, frame_of(vectors[1])), vectors[1].with_ports & (length - 1));
    }
}

// A tap of three queues, where this process may make one.

class TapSteeringTest : public ::testing::Test {
  protected:
    static constexpr std::size_t queues = 3;

    void SetUp() override {
        const std::string name = "cuprss" + std::to_string(getpid() % 1'000'000);
        auto opened = open_tap(name, queues);
        if (!opened) {
            GTEST_SKIP() << opened.error().message;
        }
        for (const auto& queue : *opened) {
            descriptors_.push_back(queue.get());
        }
        tap_ = std::make_unique<TapQueues>(std::move(*opened));
        if (!tap_->can_steer()) {
            GTEST_SKIP() << "the kernel takes no steering program from this process";
        }
        wire_ = base::FileDescriptor(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
        place_ = {.sll_family = AF_PACKET,
                  .sll_protocol = 0,
                  .sll_ifindex = static_cast<int>(if_nametoindex(name.c_str())),
                  .sll_hatype = 0,
                  .sll_pkttype = 0,
                  .sll_halen = 0,
                  .sll_addr = {}};
    }

    /// The queue that a frame from the host comes in; frames of the host's own are passed over.
    std::optional<std::size_t> queue_of(const Bytes& frame) {
        EXPECT_EQ(sendto(wire_.get(), frame.data(), frame.size(), 0,
                         reinterpret_cast<const sockaddr*>(&place_), sizeof place_),
                  static_cast<ssize_t>(frame.size()));
        for (int i = 0; i < 2000; ++i) {
            for (std::size_t queue = 0; queue < queues; ++queue) {
                Bytes got(2048);
                const ssize_t bytes = read(descriptors_[queue], got.data(), got.size());
                const auto tail = static_cast<ssize_t>(sizeof(NetHeader) + frame.size());
                if (bytes == tail &&
                    std::equal(frame.begin(), frame.end(), got.begin() + sizeof(NetHeader))) {
                    return queue;
                }
            }
            poll(nullptr, 0, 1);
        }
        return std::nullopt;
    }
    /// Every vector comes in the queue that its hash names.
    void expect_steered(const ReceiveSteering& rules) {
        for (const Vector& vector : vectors) {
            const std::size_t entry = vector.with_ports & (rules.table.size() - 1);
            EXPECT_EQ(queue_of(frame_of(vector)), std::optional<std::size_t>(rules.table[entry]));
        }
        Bytes arp(60);
        arp[12] = 8;
        arp[13] = 6;
        EXPECT_EQ(queue_of(arp), std::optional<std::size_t>(rules.unclassified));
    }

    static ReceiveSteering rules_of(std::vector<std::uint16_t> table, std::uint16_t unclassified) {
        return {.hash_types = hash_type::all,
                .key = microsoft_key,
                .unclassified = unclassified,
                .table = std::move(table)};
    }

    std::vector<int> descriptors_;
    std::unique_ptr<TapQueues> tap_;
    base::FileDescriptor wire_;
    sockaddr_ll place_{};
};

TEST_F(TapSteeringTest, FramesComeInTheQueueThatTheirHashNames) {
    const auto rules = rules_of({0, 1, 2, 1, 0, 2, 2, 0}, 1);
    ASSERT_TRUE(tap_->steer(&rules));
    expect_steered(rules);
    const auto others = rules_of({2, 1}, 2);
    ASSERT_TRUE(tap_->steer(&others));
    expect_steered(others);
}

TEST_F(TapSteeringTest, TheOrderInWhichQueuesComeAndGoDoesNotMatter) {
    EXPECT_FALSE(tap_->set_attached(0, false));
    EXPECT_FALSE(tap_->set_attached(1, false));
    EXPECT_TRUE(tap_->set_attached(1, true));
    EXPECT_TRUE(tap_->set_attached(0, true));  // the kernel's order is 2, 1, 0 now
    const auto rules = rules_of({0, 1, 2, 1}, 0);
    ASSERT_TRUE(tap_->steer(&rules));
    expect_steered(rules);
    EXPECT_FALSE(tap_->set_attached(2, false));
    EXPECT_TRUE(tap_->set_attached(2, true));
    expect_steered(rules);
}

TEST_F(TapSteeringTest, RulesAttachTheQueuesThatTheyName) {
    EXPECT_FALSE(tap_->set_attached(1, false));
    EXPECT_FALSE(tap_->set_attached(2, false));
    const auto rules = rules_of({2, 0}, 2);
    ASSERT_TRUE(tap_->steer(&rules));
    EXPECT_TRUE(tap_->attached(2));
    EXPECT_FALSE(tap_->attached(1));
    expect_steered(rules);
}

TEST_F(TapSteeringTest, WithoutRulesTheKernelChoosesAgain) {
    const auto rules = rules_of({2}, 2);
    ASSERT_TRUE(tap_->steer(&rules));
    expect_steered(rules);
    ASSERT_TRUE(tap_->steer(nullptr));
    EXPECT_FALSE(tap_->set_attached(1, false));
    EXPECT_FALSE(tap_->set_attached(2, false));
    EXPECT_EQ(queue_of(frame_of(vectors[0])), std::optional<std::size_t>(0));
}

}  // namespace
}  // namespace cupule::backend
