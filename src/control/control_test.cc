// The sockets of a whole machine on a hypervisor without processors.
#include "control/control.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "backend/unix_socket.h"
#include "control/manager_directory.h"
#include "control/manager_session.h"
#include "control/pc_commands.h"
#include "machine/testing/pc_bench.h"

namespace cupule::control {
namespace {

using machine::testing::PcBench;

class ControlTest : public ::testing::Test {
  protected:
    ControlTest() {
        std::string pattern = "/tmp/cupule-control-XXXXXX";
        top_ = mkdtemp(pattern.data());
        EXPECT_EQ(bench_.error(), "");
        auto control = Control::create({.vm_name = "bench",
                                        .manager_directory = top_ + "/mngr",
                                        .manager_required = true,
                                        .command_socket = top_ + "/commands"},
                                       bench_.loop(), commands_);
        EXPECT_TRUE(control) << (control ? "" : control.error().message);
        control_ = control ? std::move(*control) : nullptr;
        bench_.pc().set_guest_events(control_.get());
        manager_ = *backend::connect_unix(manager_socket_path(top_ + "/mngr", "bench", getpid()));
        client_ = *backend::connect_unix(top_ + "/commands");
    }
    ~ControlTest() override {
        control_.reset();
        std::filesystem::remove_all(top_);
    }

    static void put(const base::FileDescriptor& socket, const std::string& text) {
        EXPECT_EQ(::send(socket.get(), text.data(), text.size(), 0),
                  static_cast<ssize_t>(text.size()));
    }
    static std::string get(const base::FileDescriptor& socket) {
        std::array<char, 8192> buffer{};
        const ssize_t count = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        return count > 0 ? std::string(buffer.data(), static_cast<std::size_t>(count)) : "";
    }
    static std::string request(ManagerCommand command, std::int32_t number = 0) {
        ManagerMessage message{.id = static_cast<std::uint32_t>(command)};
        message.set_number(number);
        return message.encode();
    }
    /// The number of the answer that has come; -99 for none.
    std::int32_t answer() const {
        const std::string text = get(manager_);
        const auto message = ManagerMessage::decode(std::as_bytes(std::span(text)));
        return message ? message->number() : -99;
    }
    /// A step of `turns` turns of the loop, for a message to get in and its answer out.
    static void add_turns(std::deque<PcBench::Step>& steps, int turns = 8) {
        for (int i = 0; i < turns; ++i) {
            steps.emplace_back([] {});
        }
    }

    std::string top_;
    PcBench bench_;
    PcCommands commands_{bench_.pc(), true};
    std::unique_ptr<Control> control_;
    base::FileDescriptor manager_;
    base::FileDescriptor client_;
};

TEST_F(ControlTest, SuspendHoldsTheProcessorsAndResumeLetsThemRunOn) {
    std::deque<PcBench::Step> steps;
    steps.emplace_back([&] { put(manager_, request(ManagerCommand::suspend)); });
    add_turns(steps);
    steps.emplace_back([&] {
        EXPECT_EQ(answer(), 0);
        EXPECT_FALSE(bench_.vm().running());
        put(manager_, request(ManagerCommand::query));
    });
    add_turns(steps);
    steps.emplace_back([&] {
        EXPECT_EQ(answer(), 4);
        put(manager_, request(ManagerCommand::resume));
    });
    add_turns(steps);
    steps.emplace_back([&] {
        EXPECT_EQ(answer(), 0);
        EXPECT_TRUE(bench_.vm().running());
        EXPECT_EQ(bench_.vm().resets(), 0U);
    });
    EXPECT_FALSE(bench_.run(std::move(steps)).has_value());
}

TEST_F(ControlTest, AResetOfAPausedMachineWaitsForResume) {
    std::deque<PcBench::Step> steps;
    steps.emplace_back([&] { put(client_, R"({"command":"suspend"}{"command":"reset"})"); });
    add_turns(steps);
    steps.emplace_back([&] {
        EXPECT_EQ(get(client_), "{\"ack\":0}\n{\"ack\":0}\n");
        EXPECT_EQ(bench_.vm().resets(), 1U);
        EXPECT_FALSE(bench_.vm().running());
        put(client_, R"({"command":"resume"})");
    });
    add_turns(steps);
    steps.emplace_back([&] { EXPECT_TRUE(bench_.vm().running()); });
    EXPECT_FALSE(bench_.run(std::move(steps)).has_value());
}

TEST_F(ControlTest, ResumeWakesAGuestThatSleeps) {
    std::deque<PcBench::Step> steps;
    steps.emplace_back([&] { machine::testing::write_sleep(bench_.vm(), 3); });
    steps.emplace_back([&] {
        EXPECT_TRUE(bench_.pc().at_rest());
        put(manager_, request(ManagerCommand::resume, 3));
    });
    add_turns(steps);
    steps.emplace_back([&] {
        EXPECT_EQ(answer(), 0);
        EXPECT_TRUE(bench_.vm().running());
        // WAK_STS and nobody's button.
        EXPECT_EQ(bench_.vm().read_port(machine::pm1_event_port, 2), 0x8000U);
    });
    EXPECT_FALSE(bench_.run(std::move(steps)).has_value());
}

TEST_F(ControlTest, StopPressesThePowerButtonOfAPausedMachineTooAndForceEndsIt) {
    std::deque<PcBench::Step> steps;
    steps.emplace_back(
        [&] { put(manager_, request(ManagerCommand::suspend) + request(ManagerCommand::stop)); });
    add_turns(steps);
    steps.emplace_back([&] {
        EXPECT_TRUE(bench_.vm().running());
        EXPECT_EQ(bench_.vm().read_port(machine::pm1_event_port, 2), 0x0100U);
        put(manager_, request(ManagerCommand::stop, 1));
    });
    add_turns(steps);
    const auto end = bench_.run(std::move(steps));
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->reason, machine::EndReason::forced_stop);
}

TEST_F(ControlTest, BlkrescanOfASlotWithoutADiskIsRefused) {
    std::deque<PcBench::Step> steps;
    steps.emplace_back(
        [&] { put(client_, R"({"command":"blkrescan","arguments":"7,/tmp/disk"})"); });
    add_turns(steps);
    steps.emplace_back([&] { EXPECT_EQ(get(client_), "{\"ack\":-1}\n"); });
    bench_.run(std::move(steps));
}

TEST_F(ControlTest, EventsGoToThoseWhoRegisteredTheLastBeforeTheEnd) {
    std::deque<PcBench::Step> steps;
    steps.emplace_back([&] { put(client_, R"({"command":"register_vm_event_client"})"); });
    add_turns(steps);
    steps.emplace_back([&] {
        EXPECT_EQ(get(client_), "{\"ack\":0}\n");
        bench_.vm().stop(hypervisor::VmStop::triple_fault);
    });
    steps.emplace_back([&] { EXPECT_EQ(get(client_), "{\"vm_event\":2}\n"); });
    steps.emplace_back([&] {
        // 1 January 2001, in BCD, with the clock held (SET).
        for (const auto& [cell, value] : {std::pair{0x0B, 0x82},
                                          {0x09, 0x01},
                                          {0x08, 0x01},
                                          {0x07, 0x01},
                                          {0x32, 0x20},
                                          {0x0B, 0x02}}) {
            bench_.vm().write_port(0x70, 1, static_cast<std::uint64_t>(cell));
            bench_.vm().write_port(0x71, 1, static_cast<std::uint64_t>(value));
        }
    });
    steps.emplace_back([&] { machine::testing::write_sleep(bench_.vm(), 5); });
    add_turns(steps);
    const auto end = bench_.run(std::move(steps));
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->reason, machine::EndReason::power_off);
    const std::string news = get(client_);
    EXPECT_NE(news.find("{\"vm_event\":0,\"delta_time\":-"), std::string::npos) << news;
    EXPECT_TRUE(news.ends_with("{\"vm_event\":1}\n")) << news;
}

TEST_F(ControlTest, ARealTimeMachineOnAcrnIsNotDestroyed) {
    PcCommands commands(bench_.pc(), false);
    EXPECT_FALSE(commands.destroy());
    EXPECT_TRUE(commands.stop());
}

TEST_F(ControlTest, ADirectoryThatCannotBeMadeIsAnErrorOnlyWhereSomebodyAskedForIt) {
    const ControlOptions options{.vm_name = "bench", .manager_directory = "/proc/nothing/mngr"};
    EXPECT_TRUE(Control::create(options, bench_.loop(), commands_));
    ControlOptions required = options;
    required.manager_required = true;
    const auto refused = Control::create(required, bench_.loop(), commands_);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("--mngr"), std::string::npos);
}

}  // namespace
}  // namespace cupule::control
