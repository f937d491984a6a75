#include "control/manager_session.h"

#include <gtest/gtest.h>

#include <cstring>

#include "control/testing/recorded_commands.h"

namespace cupule::control {
namespace {

using testing::RecordedCommands;

std::vector<std::byte> bytes_of(const std::string& text) {
    std::vector<std::byte> result(text.size());
    std::memcpy(result.data(), text.data(), text.size());
    return result;
}

/// A message as acrnctl lays it out, without the code under test.
std::string message(std::uint32_t id, const std::string& payload, std::uint64_t timestamp = 0) {
    std::string text("\x76\x6d\x6d\x20\x6d\x73\x67\x00", 8);
    text.append(reinterpret_cast<const char*>(&id), sizeof id);
    text.append(4, '\xEE');  // what the compiler left between the fields
    text.append(reinterpret_cast<const char*>(&timestamp), sizeof timestamp);
    text += payload;
    text.resize(280, '\0');
    return text;
}

std::string number(std::int32_t value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
}

class ManagerSessionTest : public ::testing::Test {
  protected:
    std::string send(const std::string& text) { return session_.receive(bytes_of(text)); }
    /// The first number of a single answer's payload.
    std::int32_t answer_to(const std::string& request) {
        const std::string reply = send(request);
        EXPECT_EQ(reply.size(), 280U);
        std::int32_t value = 0;
        std::memcpy(&value, reply.data() + 24, reply.size() == 280 ? sizeof value : 0);
        return value;
    }

    RecordedCommands commands_;
    ManagerSession session_{commands_};
};

TEST_F(ManagerSessionTest, AnAnswerRepeatsKindAndTimeAndClearsTheRest) {
    std::string expected = message(6, number(0), 0x1122'3344'5566'7788);
    std::memset(expected.data() + 12, 0, 4);
    EXPECT_EQ(send(message(6, std::string(256, 'x'), 0x1122'3344'5566'7788)), expected);
}

TEST_F(ManagerSessionTest, QueryTellsRunningFromSuspended) {
    EXPECT_EQ(answer_to(message(6, "")), 0);
    commands_.state_now = RunState::suspended;
    EXPECT_EQ(answer_to(message(6, "")), 4);
    EXPECT_TRUE(commands_.asked.empty());
}

TEST_F(ManagerSessionTest, EachRequestReachesTheMachine) {
    EXPECT_EQ(answer_to(message(3, number(0))), 0);
    EXPECT_EQ(answer_to(message(3, number(1))), 0);
    EXPECT_EQ(answer_to(message(4, "")), 0);
    EXPECT_EQ(answer_to(message(5, number(3))), 0);
    EXPECT_EQ(answer_to(message(7, "3,/var/disk,1.img")), 0);
    EXPECT_EQ(commands_.asked, (std::vector<std::string>{"stop", "destroy", "suspend", "resume",
                                                         "insert 3 /var/disk,1.img"}));
}

TEST_F(ManagerSessionTest, ARefusalIsMinusOne) {
    commands_.refuses = true;
    for (const std::uint32_t id : {3U, 4U, 5U}) {
        EXPECT_EQ(answer_to(message(id, "")), -1) << id;
    }
    EXPECT_EQ(answer_to(message(7, "3,/disk")), -1);
}

TEST_F(ManagerSessionTest, ArgumentsOfBlkrescanThatAreNoneAreRefused) {
    for (const char* text : {"", "3", "3,", ",/disk", "x,/disk", "-1,/disk", "3 ,/disk",
                             "99999999999,/disk", "3x,/disk"}) {
        EXPECT_EQ(answer_to(message(7, text)), -1) << text;
    }
    EXPECT_TRUE(commands_.asked.empty());
}

TEST_F(ManagerSessionTest, AnArgumentWithoutItsEndIsCutAtThePayload) {
    const std::string path = "3," + std::string(254, 'p');
    EXPECT_EQ(answer_to(message(7, path)), 0);
    EXPECT_EQ(commands_.asked.at(0), "insert 3 " + std::string(254, 'p'));
}

TEST_F(ManagerSessionTest, BadMessagesAreIgnoredAndTheNextGoodOneIsServed) {
    std::string bad_magic = message(3, number(1));
    bad_magic[0] = '\0';
    const std::string truncated = message(3, number(1)).substr(0, 279);
    for (const std::string& bad :
         {bad_magic, truncated, std::string("stop"), std::string(4096, '\xFF'), message(2, ""),
          message(0xFFFF'FFFF, ""), message(9, "")}) {
        const std::uint64_t before = session_.ignored();
        EXPECT_EQ(send(bad), "");
        EXPECT_GT(session_.ignored(), before);
        EXPECT_EQ(answer_to(message(6, "")), 0);
    }
    EXPECT_EQ(commands_.asked, std::vector<std::string>{});
}

TEST_F(ManagerSessionTest, ManyMessagesAtOnceAreAnsweredInOrder) {
    std::string requests;
    for (int i = 0; i < 16; ++i) {
        requests += message(6, "", static_cast<std::uint64_t>(i));
    }
    const std::string replies = send(requests);
    ASSERT_EQ(replies.size(), 16U * 280U);
    EXPECT_EQ(replies[15 * 280 + 16], 15);
}

}  // namespace
}  // namespace cupule::control
