#include "control/command_session.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "control/testing/recorded_commands.h"

namespace cupule::control {
namespace {

using testing::RecordedCommands;

class CommandSessionTest : public ::testing::Test {
  protected:
    std::string send(const std::string& text) {
        return session_.receive(std::as_bytes(std::span(text)));
    }

    RecordedCommands commands_;
    CommandSession session_{commands_};
    const std::string done_ = "{\"ack\":0}\n";
    const std::string refused_ = "{\"ack\":-1}\n";
};

TEST_F(CommandSessionTest, EachCommandReachesTheMachine) {
    EXPECT_EQ(send(R"({"command":"destroy"})"), done_);
    EXPECT_EQ(send(R"({ "command" : "blkrescan", "arguments" : "3,/a/b" })"), done_);
    EXPECT_EQ(send(R"({"arguments":"","command":"stop"})"), done_);
    EXPECT_EQ(send("{\n\t\"command\":\t\"reset\"\n}"), done_);
    EXPECT_EQ(send(R"({"command":"suspend"})"), done_);
    EXPECT_EQ(send(R"({"command":"resume"})"), done_);
    EXPECT_EQ(send(R"({"command":"balloon","arguments":"6,512"})"), done_);
    EXPECT_EQ(commands_.asked,
              (std::vector<std::string>{"destroy", "insert 3 /a/b", "stop", "reset", "suspend",
                                        "resume", "inflate 6 512"}));
    EXPECT_EQ(session_.ignored(), 0U);
}

TEST_F(CommandSessionTest, QueryTellsRunningFromSuspended) {
    EXPECT_EQ(send(R"({"command":"query"})"), "{\"ack\":0,\"state\":\"running\"}\n");
    commands_.state_now = RunState::suspended;
    EXPECT_EQ(send(R"({"command":"query"})"), "{\"ack\":0,\"state\":\"suspended\"}\n");
}

TEST_F(CommandSessionTest, QueryTellsStatisticsWhereTheyAreAskedFor) {
    EXPECT_EQ(send(R"({"command":"query","arguments":"statistics"})"),
              R"({"ack":0,"state":"running","statistics":["a \"line\"","another"]})"
              "\n");
}

TEST_F(CommandSessionTest, ARefusalIsMinusOne) {
    commands_.refuses = true;
    EXPECT_EQ(send(R"({"command":"destroy"})"), refused_);
    EXPECT_EQ(send(R"({"command":"blkrescan","arguments":"3"})"), refused_);
    EXPECT_EQ(send(R"({"command":"blkrescan","arguments":7})"), refused_);
    EXPECT_EQ(send(R"({"command":"blkrescan"})"), refused_);
}

TEST_F(CommandSessionTest, ABalloonTakesASlotAndANumberOfMib) {
    for (const char* arguments :
         {"", "6", "6,", ",512", "6,x", "x,5", "6,-1", "6,1,2", "6,1M", "6,99999999999999999999"}) {
        EXPECT_EQ(send(fmt::format(R"({{"command":"balloon","arguments":"{}"}})", arguments)),
                  refused_)
            << arguments;
    }
    EXPECT_TRUE(commands_.asked.empty());
    EXPECT_EQ(send(R"({"command":"balloon","arguments":"6,0"})"), done_);
}

TEST_F(CommandSessionTest, OnlyAClientThatRegistersGetsEvents) {
    EXPECT_FALSE(session_.wants_events());
    EXPECT_EQ(send(R"({"command":"register_vm_event_client"})"), done_);
    EXPECT_TRUE(session_.wants_events());
    EXPECT_EQ(send(R"({"command":"register_vm_event_client"})"), refused_);
    EXPECT_TRUE(session_.wants_events());
}

TEST_F(CommandSessionTest, RequestsMayComeInPiecesOrTogetherWithAnyEndOfLine) {
    const std::string query = R"({"command":"query","arguments":"}{\"\\"})";
    std::string answers;
    for (const char c : query) {
        EXPECT_EQ(answers, "");
        answers += send(std::string(1, c));
    }
    EXPECT_EQ(answers, "{\"ack\":0,\"state\":\"running\"}\n");
    EXPECT_EQ(send(query + "\n" + query + std::string("\0\r\n", 3) + query).size(),
              3 * answers.size());
    EXPECT_EQ(session_.ignored(), 0U);
}

TEST_F(CommandSessionTest, WhatIsNoRequestIsIgnoredAndTheNextGoodOneIsServed) {
    for (const std::string& bad :
         {std::string("hello"), std::string("[1,2]"), std::string("{}"), std::string("{1}"),
          std::string(R"({"command":7})"), std::string(R"({"command":""})"),
          std::string(R"({"command":"explode"})"), std::string("{\"command\":\"\xFF\xFE\"}"),
          std::string("}}}}"), std::string("\"{"), std::string(2000, '[') + "{" + "}",
          "{\"a\":" + std::string(1000, '[') + "}"}) {
        const std::uint64_t before = session_.ignored();
        EXPECT_EQ(send(bad), "") << bad;
        // An unfinished beginning ends with the longest request there is.
        EXPECT_EQ(send(std::string(bad == "\"{" ? 5000 : 0, ' ')), "");
        EXPECT_GT(session_.ignored(), before) << bad;
        EXPECT_EQ(send(R"({"command":"query"})"), "{\"ack\":0,\"state\":\"running\"}\n") << bad;
    }
    EXPECT_TRUE(commands_.asked.empty());
}

TEST_F(CommandSessionTest, ARequestThatIsTooLongIsIgnoredAndNotKept) {
    std::string answers;
    answers += send(R"({"command":"destroy","arguments":")");
    for (int i = 0; i < 1000; ++i) {
        answers += send(std::string(4480, 'x'));
    }
    EXPECT_EQ(answers, "");
    EXPECT_GT(session_.ignored(), 0U);
    EXPECT_EQ(send(R"({"command":"destroy","arguments":")" + std::string(4100, 'x') + "\"}"), "");
    EXPECT_TRUE(commands_.asked.empty());
    EXPECT_EQ(send(R"({"command":"destroy"})"), done_);
}

TEST(ObjectLength, CountsBracesOutsideQuotes) {
    EXPECT_EQ(object_length("{}"), 2U);
    EXPECT_EQ(object_length("{}{}"), 2U);
    EXPECT_EQ(object_length(R"({"}":"\"}"} )"), 11U);
    EXPECT_EQ(object_length(R"({"a":{}})"), 8U);
    EXPECT_EQ(object_length("{"), 0U);
    EXPECT_EQ(object_length(R"({"\)"), 0U);
    EXPECT_EQ(object_length(""), 0U);
}

}  // namespace
}  // namespace cupule::control
