// ACRN's client and its service, face to face.

#include <gmock/gmock.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "hsm/testing/session_bench.h"
#include "hypervisor/acrn/acrn_vm.h"

namespace cupule::hsm {
namespace {

using hypervisor::acrn::AcrnOptions;
using hypervisor::acrn::AcrnVm;
using testing::LocalProcess;
using testing::SessionBench;
using testing::SessionPort;

class Machine : public io::IoClient, public hypervisor::VmEvents {
  public:
    void handle(io::IoRequest& request) override {
        {
            event::MutexLock lock(mutex_);
            last_ = request;
        }
        if (request.kind == io::IoKind::port && request.address == slow_port) {
            ++waiting;
            while (!go) {
                std::this_thread::yield();
            }
        }
        if (request.kind == io::IoKind::port && request.address == stop_port) {
            vm->request_pause();
        }
        request.value = request.address + 1;
        request.state = io::IoState::complete;
    }
    void vm_stopped(hypervisor::VmStop reason, const std::string& /*detail*/) override {
        stop = reason;
    }

    static constexpr std::uint64_t slow_port = 0x500;
    static constexpr std::uint64_t stop_port = 0xCF9;
    hypervisor::Vm* vm = nullptr;
    std::atomic<unsigned> waiting{0};
    std::atomic<bool> go{false};
    std::atomic<hypervisor::VmStop> stop{hypervisor::VmStop::power_off};
    io::IoRequest last() {
        event::MutexLock lock(mutex_);
        return last_;
    }

  private:
    event::Mutex mutex_;
    io::IoRequest last_ CUPULE_GUARDED_BY(mutex_);
};

/// Notes what SET_IRQLINE is called with.
class LinePort : public SessionPort {
  public:
    LinePort(VmSession& session, const ClientProcess& client, std::vector<std::uint64_t>& lines)
        : SessionPort(session, client), lines_(lines) {}
    int call(unsigned long request, std::uintptr_t argument) override {
        if (request == ACRN_IOCTL_SET_IRQLINE) {
            lines_.push_back(argument);
        }
        return SessionPort::call(request, argument);
    }

  private:
    std::vector<std::uint64_t>& lines_;
};

class AcrnClient : public ::testing::Test {
  protected:
    void make(unsigned vcpus = 1, AcrnOptions options = {}) {
        options.create_pause_ns = 1;
        auto vm = AcrnVm::create({.name = "guest", .vcpus = vcpus}, options,
                                 std::make_unique<SessionPort>(bench_.session(), process_));
        ASSERT_TRUE(vm) << vm.error().message;
        vm_ = std::move(*vm);
        machine_.vm = vm_.get();
    }
    hypervisor::FakeVm& guest() { return bench_.vm(); }

    SessionBench bench_;
    LocalProcess process_{false, true};
    Machine machine_;
    std::unique_ptr<AcrnVm> vm_;
};

TEST_F(AcrnClient, AGuestsAccessIsAnsweredByTheMachine) {
    make();
    ASSERT_TRUE(vm_->start(machine_, machine_));
    EXPECT_EQ(guest().read_port(0x61, 1), 0x62U);
    EXPECT_EQ(guest().read_memory(0xFED0'0000, 8), 0xFED0'0001U);
    guest().write_memory(0xFED0'0010, 4, 0x1234);
    EXPECT_EQ(machine_.last().size, 4);
    EXPECT_EQ(machine_.last().direction, io::IoDirection::write);
    guest().write_port(0xCF8, 4, 0x8000'0840);
    EXPECT_EQ(guest().read_port(0xCFD, 1), 0x42U);
    EXPECT_EQ(machine_.last().kind, io::IoKind::pci_config);
    EXPECT_EQ(machine_.last().bdf, (io::PciAddress{.device = 1}));
    EXPECT_EQ(vm_->request_count(), 4U) << "the address port is the HSM's";
}

TEST_F(AcrnClient, ARequestDoesNotWaitBehindThatOfAnotherVcpu) {
    make(3);
    ASSERT_TRUE(vm_->start(machine_, machine_));
    std::thread first([&] { guest().read_port(Machine::slow_port, 1, 0); });
    std::thread second([&] { guest().read_port(Machine::slow_port, 1, 1); });
    while (machine_.waiting != 2) {
        std::this_thread::yield();
    }
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(guest().read_port(0x61, 1, 2), 0x62U);
    }
    machine_.go = true;
    first.join();
    second.join();
}

TEST_F(AcrnClient, ManyRequestsOfManyVcpusAllComeBack) {
    make(3);
    ASSERT_TRUE(vm_->start(machine_, machine_));
    std::vector<std::thread> vcpus;
    std::atomic<unsigned> wrong{0};
    for (std::uint16_t vcpu = 0; vcpu < 3; ++vcpu) {
        vcpus.emplace_back([&, vcpu] {
            for (std::uint64_t i = 0; i < 500; ++i) {
                wrong += guest().read_memory(0x1000 * i, 8, vcpu) == 0x1000 * i + 1 ? 0U : 1U;
            }
        });
    }
    for (std::thread& vcpu : vcpus) {
        vcpu.join();
    }
    EXPECT_EQ(wrong, 0U);
    EXPECT_EQ(vm_->request_count(), 1500U);
}

TEST_F(AcrnClient, AGuestNeverRunsPastTheWriteThatStopsIt) {
    make();
    ASSERT_TRUE(vm_->start(machine_, machine_));
    guest().write_port(Machine::stop_port, 1, 6);
    EXPECT_FALSE(guest().running());
    vm_->pause();
    ASSERT_TRUE(vm_->reset());
    EXPECT_EQ(guest().resets(), 1U);
    ASSERT_TRUE(vm_->set_boot_state({.rip = 0x7C00}));
    EXPECT_EQ(guest().boot_state().rip, 0x7C00U);
    ASSERT_TRUE(vm_->start(machine_, machine_));
    EXPECT_EQ(guest().read_port(0x61, 1), 0x62U);
    guest().write_port(Machine::stop_port, 1, 6);
    vm_->pause();
    ASSERT_TRUE(vm_->reset());
}

TEST_F(AcrnClient, PauseWaitsForWhoIsInTheMachine) {
    make();
    ASSERT_TRUE(vm_->start(machine_, machine_));
    std::thread vcpu([&] { guest().read_port(Machine::slow_port, 1); });
    while (machine_.waiting == 0) {
        std::this_thread::yield();
    }
    std::atomic<bool> paused{false};
    std::thread control([&] {
        vm_->pause();
        paused = true;
    });
    vcpu.join();  // The hypervisor lets the processor go at once.
    EXPECT_FALSE(paused);
    machine_.go = true;
    control.join();
}

TEST_F(AcrnClient, LinesHaveAcrnsPolarity) {
    make();
    EXPECT_EQ(vm_->gsi_count(), 48U);
    EXPECT_FALSE(guest().gsi_level({20})) << "driven high: idle";
    vm_->set_gsi_level({20}, true);
    vm_->set_gsi_level({9}, true);
    EXPECT_TRUE(guest().gsi_level({20}));
    EXPECT_TRUE(guest().gsi_level({9}));
    ASSERT_TRUE(vm_->start(machine_, machine_));
    vm_->pause();
    ASSERT_TRUE(vm_->reset());
    EXPECT_FALSE(guest().gsi_level({20}));
    EXPECT_FALSE(guest().gsi_level({9}));
}

TEST_F(AcrnClient, TheTimerIsGsi2OfAcrn) {
    std::vector<std::uint64_t> lines;
    auto vm = AcrnVm::create({.name = "guest"}, {},
                             std::make_unique<LinePort>(bench_.session(), process_, lines));
    ASSERT_TRUE(vm) << vm.error().message;
    lines.clear();
    (*vm)->set_gsi_level({0}, true);
    EXPECT_EQ(lines, std::vector<std::uint64_t>{2});
}

TEST_F(AcrnClient, MessagesDoorbellsAndEventfdsReachTheGuest) {
    make();
    ASSERT_TRUE(vm_->start(machine_, machine_));
    vm_->send({.address = 0xFEE0'0000, .data = 0x31});
    EXPECT_EQ(guest().take_messages().at(0).data, 0x31U);
    const auto bell = base::make_eventfd();
    ASSERT_TRUE(bell);
    const io::Doorbell doorbell{
        .address = 0xC000'3000, .size = 2, .match = std::nullopt, .eventfd = bell->get()};
    ASSERT_TRUE(vm_->add_doorbell(doorbell));
    guest().write_memory(0xC000'3000, 2, 0);
    EXPECT_EQ(vm_->request_count(), 0U) << "a doorbell does not visit the client";
    vm_->remove_doorbell(doorbell);
    guest().write_memory(0xC000'3000, 2, 0);
    EXPECT_EQ(vm_->request_count(), 1U);
    const auto interrupt = base::make_eventfd();
    ASSERT_TRUE(interrupt);
    ASSERT_TRUE(vm_->route_message(interrupt->get(), {.address = 0xFEE0'0000, .data = 1}));
    ASSERT_TRUE(vm_->route_message(interrupt->get(), {.address = 0xFEE0'0000, .data = 2}));
    base::signal_eventfd(interrupt->get());
    EXPECT_EQ(guest().deliver_event_interrupts(), 1U);
    EXPECT_EQ(guest().take_messages().at(0).data, 2U) << "the message was replaced";
    vm_->unroute(interrupt->get());
    EXPECT_FALSE(vm_->route_level(interrupt->get(), {16}, bell->get()));
}

TEST_F(AcrnClient, GuestMemoryIsSharedWithTheHypervisor) {
    make();
    std::byte* const host = process_.shared().data();
    ASSERT_TRUE(vm_->map({0x10'0000}, 0x10000, host, hypervisor::MemoryAccess::read_write));
    host[0x123] = std::byte{0x77};
    EXPECT_EQ(guest().memory(0x10'0123, 1)[0], std::byte{0x77});
    EXPECT_FALSE(vm_->unmap({0x10'0000}));
}

TEST_F(AcrnClient, CreationIsTriedAgainAndThenSaysWhy) {
    ASSERT_EQ(bench_.create(1, 0, "guest"), 0);
    const auto vm = AcrnVm::create({.name = "guest"}, {.create_tries = 3, .create_pause_ns = 1},
                                   std::make_unique<SessionPort>(bench_.session(), process_));
    ASSERT_FALSE(vm);
    EXPECT_THAT(vm.error().message, ::testing::HasSubstr("is the name taken"));
}

TEST_F(AcrnClient, WhatAcrnHasNoRoomForIsRefused) {
    const auto port = [&] { return std::make_unique<SessionPort>(bench_.session(), process_); };
    EXPECT_FALSE(AcrnVm::create({.name = "guest", .vcpus = 17}, {}, port()));
    EXPECT_FALSE(AcrnVm::create({.name = "sixteen-letters!"}, {}, port()));
    EXPECT_FALSE(AcrnVm::create({.name = "guest", .vcpus = 2, .cpu_affinity = {1, 1}}, {}, port()));
}

TEST_F(AcrnClient, ARealTimeVmPollsForItsAnswers) {
    make(1, {.realtime = true});
    ASSERT_TRUE(vm_->start(machine_, machine_));
    EXPECT_EQ(guest().read_port(0x61, 1), 0x62U);
    guest().write_port(Machine::stop_port, 1, 6);
    EXPECT_FALSE(guest().running());
}

TEST_F(AcrnClient, DevicesAreAssignedByTheServicesCalls) {
    make();
    hypervisor::DeviceAssigner* const assigner = vm_->device_assigner();
    ASSERT_NE(assigner, nullptr);
    const hypervisor::HypervisorRootPort port{.guest = {.bus = 0, .device = 5, .function = 0},
                                              .host = {.bus = 0, .device = 0x1C, .function = 0},
                                              .secondary_bus = 1,
                                              .max_payload = 1,
                                              .time_offset = 0x150};
    ASSERT_TRUE(assigner->create(port));
    const auto twice = assigner->create(port);
    ASSERT_FALSE(twice);
    EXPECT_NE(twice.error().message.find("8086:9d14 for 00:05.0"), std::string::npos);
    const auto missing = assigner->assign({.guest = {.bus = 1}, .host = {.bus = 2}});
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ENODEV);
    EXPECT_NE(missing.error().message.find("the host's 02:00.0 as 01:00.0"), std::string::npos);
    EXPECT_FALSE(assigner->connect_intx({.gsi = {16}, .host_gsi = 16}));
    EXPECT_FALSE(assigner->assign_memory({.name = "mmio", .guest = {0x1000}, .size = 0x1000}));
    ASSERT_TRUE(vm_->start(machine_, machine_));
    EXPECT_EQ(guest().read_memory(0xE000'0000 | 5 << 15, 4), 0x9D14'8086U);
    EXPECT_EQ(guest().read_memory(0xE000'0019 | 5 << 15, 1), 1U);
    vm_->pause();
    assigner->destroy(port);
    ASSERT_TRUE(vm_->reset());
    EXPECT_TRUE(assigner->create(port)) << "it has gone, so it can come again";
}

TEST_F(AcrnClient, ATripleFaultIsNotTakenForAPowerOff) {
    make();
    ASSERT_TRUE(vm_->start(machine_, machine_));
    std::thread processor([&] { guest().stop(hypervisor::VmStop::triple_fault); });
    while (machine_.stop != hypervisor::VmStop::triple_fault) {
        std::this_thread::yield();
    }
    vm_->pause();
    processor.join();
    EXPECT_EQ(machine_.last().address, 0U) << "the power-off reaches nobody";
    ASSERT_TRUE(vm_->reset());
    EXPECT_TRUE(vm_->start(machine_, machine_));
}

/// Counts calls, may refuse some, and looks at the page when NOTIFY comes.
class WatchingPort : public SessionPort {
  public:
    struct Log {
        const acrn_io_request_buffer* page = nullptr;
        std::vector<std::uint32_t> doorbell_flags{};
        std::atomic<unsigned> completed_before_notify{0};
        std::atomic<unsigned> notifies{0};
        bool refuses_asyncio = false;
    };
    WatchingPort(VmSession& session, const ClientProcess& client, Log& log)
        : SessionPort(session, client), log_(log) {}
    int call(unsigned long request, std::uintptr_t argument) override {
        if (request == ACRN_IOCTL_CREATE_VM) {
            const auto* const creation = reinterpret_cast<const acrn_vm_creation*>(argument);
            log_.page = reinterpret_cast<const acrn_io_request_buffer*>(creation->ioreq_buf);
        }
        if (request == ACRN_IOCTL_NOTIFY_REQUEST_FINISH) {
            ++log_.notifies;
            const auto* const notify = reinterpret_cast<const acrn_ioreq_notify*>(argument);
            const volatile std::uint32_t& state = log_.page->req_slot[notify->vcpu].processed;
            log_.completed_before_notify += state == ACRN_IOREQ_STATE_PROCESSING ? 0U : 1U;
        }
        if (request == ACRN_IOCTL_IOEVENTFD) {
            const auto flags = reinterpret_cast<const acrn_ioeventfd*>(argument)->flags;
            log_.doorbell_flags.push_back(flags);
            if (log_.refuses_asyncio && (flags & 8) != 0 && (flags & 4) == 0) {
                return -EINVAL;
            }
        }
        return SessionPort::call(request, argument);
    }

  private:
    Log& log_;
};

class WatchedClient : public AcrnClient {
  protected:
    void make_watched(const AcrnOptions& options = {}) {
        auto vm = AcrnVm::create({.name = "guest"}, options,
                                 std::make_unique<WatchingPort>(bench_.session(), process_, log_));
        ASSERT_TRUE(vm) << vm.error().message;
        vm_ = std::move(*vm);
        machine_.vm = vm_.get();
    }
    WatchingPort::Log log_;
};

TEST_F(WatchedClient, OfAVmThatPollsOnlyTheHsmCompletesARequest) {
    make_watched({.realtime = true});
    ASSERT_TRUE(vm_->start(machine_, machine_));
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(guest().read_port(0x61, 1), 0x62U);
    }
    EXPECT_EQ(log_.completed_before_notify, 0U);
}

TEST_F(WatchedClient, DoorbellsAreAsynchronousWhereTheHsmCan) {
    make_watched();
    const auto eventfd = base::make_eventfd();
    const io::Doorbell bell{
        .address = 0x8000'3000, .match = std::nullopt, .eventfd = eventfd->get()};
    ASSERT_TRUE(vm_->add_doorbell(bell));
    vm_->remove_doorbell(bell);
    EXPECT_EQ(log_.doorbell_flags, (std::vector<std::uint32_t>{8, 8 | 4}));
    log_.doorbell_flags.clear();
    log_.refuses_asyncio = true;
    ASSERT_TRUE(vm_->add_doorbell(bell));
    vm_->remove_doorbell(bell);
    EXPECT_EQ(log_.doorbell_flags, (std::vector<std::uint32_t>{8, 0, 4}));
}

TEST_F(WatchedClient, ADoorbellVisitsNoClient) {
    make_watched();
    const auto eventfd = base::make_eventfd();
    ASSERT_TRUE(vm_->add_doorbell(
        {.address = 0x8000'3000, .match = std::nullopt, .eventfd = eventfd->get()}));
    ASSERT_TRUE(vm_->start(machine_, machine_));
    for (int i = 0; i < 100; ++i) {
        guest().write_memory(0x8000'3000, 2, 1);
    }
    std::uint64_t rung = 0;
    ASSERT_EQ(::read(eventfd->get(), &rung, sizeof rung), 8);
    EXPECT_EQ(rung, 100U);
    EXPECT_EQ(vm_->request_count(), 0U) << "requests that the client has seen";
    EXPECT_EQ(log_.notifies, 0U);
    guest().write_memory(0x8000'4000, 2, 1);
    EXPECT_EQ(vm_->request_count(), 1U) << "beside it, each is one";
}

TEST_F(AcrnClient, AnEdgeIsOneCallOfTheHsm) {
    std::vector<std::uint64_t> lines;
    auto vm = AcrnVm::create({.name = "guest"}, {},
                             std::make_unique<LinePort>(bench_.session(), process_, lines));
    ASSERT_TRUE(vm) << vm.error().message;
    lines.clear();
    (*vm)->pulse_gsi({0});
    (*vm)->pulse_gsi({16});
    EXPECT_EQ(lines, (std::vector<std::uint64_t>{std::uint64_t{2} << 32 | 2,
                                                 std::uint64_t{3} << 32 | 16}));
    EXPECT_EQ(guest().gsi_rises({0}), 1U);
    vm_.reset();
    vm->reset();
}

}  // namespace
}  // namespace cupule::hsm
