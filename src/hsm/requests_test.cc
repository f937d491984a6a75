// Requests of the guest on their way to the client and back, through a session.

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "hsm/testing/session_bench.h"

namespace cupule::hsm {
namespace {

using testing::SessionBench;

constexpr unsigned processing = ACRN_IOREQ_STATE_PROCESSING;
constexpr unsigned complete = ACRN_IOREQ_STATE_COMPLETE;
constexpr unsigned free_slot = ACRN_IOREQ_STATE_FREE;
constexpr unsigned pending = ACRN_IOREQ_STATE_PENDING;

void wait_for(const volatile std::uint32_t& state, std::uint32_t value) {
    // The other side of the page stores with release, as the kernel does.
    std::atomic_ref shared(const_cast<std::uint32_t&>(state));
    while (shared.load(std::memory_order_acquire) != value) {
        std::this_thread::yield();
    }
}

void set(volatile std::uint32_t& state, std::uint32_t value) {
    std::atomic_ref(const_cast<std::uint32_t&>(state)).store(value, std::memory_order_release);
}

/// A guest's processor in the middle of an access.
class Access {
  public:
    Access(SessionBench& bench, io::IoRequest request)
        : thread_([this, &bench, request] { value_ = bench.vm().access(request); }) {}
    ~Access() { finish(); }
    std::uint64_t finish() {
        if (thread_.joinable()) {
            thread_.join();
        }
        return value_;
    }

  private:
    std::uint64_t value_ = 0;
    std::thread thread_;
};

io::IoRequest port_read(std::uint64_t port, std::uint8_t size, std::uint16_t vcpu = 0) {
    return {.kind = io::IoKind::port, .size = size, .vcpu = vcpu, .address = port};
}

class Requests : public ::testing::TestWithParam<bool> {
  protected:
    Requests() {
        if (GetParam()) {
            bench_.use_own_page();
        }
    }
    SessionBench bench_;
};

// With the page mapped, and with one that only its owner can map.
INSTANTIATE_TEST_SUITE_P(MappedAndCopied, Requests, ::testing::Bool(), [](const auto& param) {
    return param.param ? std::string("Copied") : std::string("Mapped");
});

TEST_P(Requests, APortReadGoesThroughTheFourStates) {
    bench_.run();
    const auto attached = bench_.attach();
    EXPECT_FALSE(attached->has_value()) << "nothing to do yet";
    Access access(bench_, port_read(0x61, 1));
    volatile acrn_io_request& slot = bench_.slot(0);
    wait_for(slot.processed, processing);
    EXPECT_EQ(slot.type, unsigned{ACRN_IOREQ_TYPE_PORTIO});
    EXPECT_EQ(slot.kernel_handled, 0U);
    EXPECT_EQ(slot.completion_polling, 0U);
    EXPECT_EQ(slot.reqs.pio_request.direction, unsigned{ACRN_IOREQ_DIR_READ});
    EXPECT_EQ(slot.reqs.pio_request.address, 0x61U);
    EXPECT_EQ(slot.reqs.pio_request.size, 1U);
    slot.reqs.pio_request.value = 0x1234'5678;
    set(slot.processed, complete);
    EXPECT_EQ(bench_.notify(0), 0);
    EXPECT_EQ(access.finish(), 0x78U) << "no more than the guest asked for";
    EXPECT_EQ(slot.processed, free_slot);
    EXPECT_EQ(attached->value_or(1), 0);
}

TEST_P(Requests, AMemoryWriteCarries64Bits) {
    bench_.run();
    Access access(bench_, {.kind = io::IoKind::mmio,
                           .direction = io::IoDirection::write,
                           .size = 8,
                           .address = 0xFED0'0010,
                           .value = 0x1122'3344'5566'7788});
    volatile acrn_io_request& slot = bench_.slot(0);
    wait_for(slot.processed, processing);
    EXPECT_EQ(slot.type, unsigned{ACRN_IOREQ_TYPE_MMIO});
    EXPECT_EQ(slot.reqs.mmio_request.direction, unsigned{ACRN_IOREQ_DIR_WRITE});
    EXPECT_EQ(slot.reqs.mmio_request.address, 0xFED0'0010U);
    EXPECT_EQ(slot.reqs.mmio_request.size, 8U);
    EXPECT_EQ(slot.reqs.mmio_request.value, 0x1122'3344'5566'7788U);
    EXPECT_EQ(bench_.notify(0), 0);
}

TEST_P(Requests, ConfigurationPortsBecomeConfigurationRequests) {
    bench_.run();
    bench_.vm().write_port(0xCF8, 4, 0x8703'1A44);  // 03:03.2, register 0x744
    EXPECT_EQ(bench_.vm().read_port(0xCF8, 4), 0x8703'1A44U);
    Access access(bench_, port_read(0xCFE, 2));
    volatile acrn_io_request& slot = bench_.slot(0);
    wait_for(slot.processed, processing);
    EXPECT_EQ(slot.type, unsigned{ACRN_IOREQ_TYPE_PCICFG});
    EXPECT_EQ(slot.reqs.pci_request.bus, 3U);
    EXPECT_EQ(slot.reqs.pci_request.dev, 3U);
    EXPECT_EQ(slot.reqs.pci_request.func, 2U);
    EXPECT_EQ(slot.reqs.pci_request.reg, 0x746U);
    EXPECT_EQ(slot.reqs.pci_request.size, 2U);
    slot.reqs.pci_request.value = 0xBEEF;
    EXPECT_EQ(bench_.notify(0), 0);
    EXPECT_EQ(access.finish(), 0xBEEFU);
}

TEST_P(Requests, DisabledConfigurationPortsAnswerOnesThemselves) {
    bench_.run();
    bench_.vm().write_port(0xCF8, 4, 0x0003'1A44);
    EXPECT_EQ(bench_.vm().read_port(0xCFC, 4), 0xFFFF'FFFFU);
    bench_.vm().write_port(0xCFC, 1, 1);
    EXPECT_EQ(bench_.slot(0).processed, free_slot);
}

TEST_P(Requests, AttachReturnsAtOnceWhileARequestIsUnfinished) {
    bench_.run();
    Access access(bench_, port_read(0x61, 1));
    wait_for(bench_.slot(0).processed, processing);
    EXPECT_EQ(bench_.attach()->value_or(1), 0);
    EXPECT_EQ(bench_.attach()->value_or(1), 0);
    EXPECT_EQ(bench_.notify(0), 0);
    access.finish();
    EXPECT_FALSE(bench_.attach()->has_value());
}

TEST_P(Requests, ASignalEndsAnAttachWithNothingToDo) {
    bench_.run();
    const auto first = bench_.attach(7);
    const auto second = bench_.attach(8);
    bench_.session().interrupt(7);
    EXPECT_EQ(first->value_or(1), 0);
    EXPECT_FALSE(second->has_value());
    bench_.session().interrupt(99);
    EXPECT_FALSE(second->has_value());
}

TEST_P(Requests, TheClientsEndEndsItsAttach) {
    bench_.run();
    const auto attached = bench_.attach();
    EXPECT_EQ(bench_.call(ACRN_IOCTL_CREATE_IOREQ_CLIENT), -EEXIST);
    EXPECT_EQ(bench_.call(ACRN_IOCTL_DESTROY_IOREQ_CLIENT), 0);
    EXPECT_EQ(attached->value_or(1), -ENODEV);
    EXPECT_EQ(bench_.attach()->value_or(1), -ENODEV);
    EXPECT_EQ(bench_.call(ACRN_IOCTL_DESTROY_IOREQ_CLIENT), 0) << "none is left";
    EXPECT_EQ(bench_.notify(0), 0) << "nobody to complain to";
    EXPECT_EQ(bench_.call(ACRN_IOCTL_CREATE_IOREQ_CLIENT), 0);
}

TEST_P(Requests, ARequestWaitsForAClientToCome) {
    ASSERT_EQ(bench_.create(), 0);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_START_VM), 0);
    Access access(bench_, port_read(0x61, 1));
    wait_for(bench_.slot(0).type, ACRN_IOREQ_TYPE_PORTIO);
    wait_for(bench_.slot(0).processed, pending);
    EXPECT_EQ(bench_.call(ACRN_IOCTL_CREATE_IOREQ_CLIENT), 0);
    wait_for(bench_.slot(0).processed, processing);
    EXPECT_EQ(bench_.attach()->value_or(1), 0);
    EXPECT_EQ(bench_.notify(0), 0);
}

TEST_P(Requests, NotifyChecksItsArguments) {
    bench_.run(0b11);
    acrn_ioreq_notify request{};
    request.reserved = 1;
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_NOTIFY_REQUEST_FINISH, request), -EINVAL);
    EXPECT_EQ(bench_.notify(2), -EINVAL);
    EXPECT_EQ(bench_.notify(0xFFFF'FFFF), -EINVAL);
    EXPECT_EQ(bench_.notify(1), 0) << "a slot that is not the client's is left alone";
    EXPECT_EQ(bench_.slot(1).processed, free_slot);
}

TEST_P(Requests, VcpusHaveTheirOwnSlots) {
    bench_.run(0b11);
    Access first(bench_, port_read(0x61, 1, 0));
    Access second(bench_, port_read(0x62, 1, 1));
    wait_for(bench_.slot(0).processed, processing);
    wait_for(bench_.slot(1).processed, processing);
    bench_.slot(1).reqs.pio_request.value = 2;
    EXPECT_EQ(bench_.notify(1), 0);
    EXPECT_EQ(second.finish(), 2U) << "not held up by the other";
    bench_.slot(0).reqs.pio_request.value = 1;
    EXPECT_EQ(bench_.notify(0), 0);
    EXPECT_EQ(first.finish(), 1U);
}

TEST_P(Requests, APollingVcpuNeedsNoNotice) {
    bench_.run(1, hypervisor::acrn::vm_flag_completion_polling);
    Access access(bench_, port_read(0x61, 1));
    wait_for(bench_.slot(0).processed, processing);
    EXPECT_EQ(bench_.slot(0).completion_polling, 1U);
    bench_.slot(0).reqs.pio_request.value = 0x21;
    set(bench_.slot(0).processed, complete);
    EXPECT_EQ(access.finish(), 0x21U);
    EXPECT_EQ(bench_.notify(0), 0);
}

TEST_P(Requests, ANoticeThatComesAfterItsAnswerWasSeenIsNotTheNextRequests) {
    bench_.run(1, hypervisor::acrn::vm_flag_completion_polling);
    volatile acrn_io_request& slot = bench_.slot(0);
    Access first(bench_, port_read(0x61, 1));
    wait_for(slot.processed, processing);
    set(slot.processed, complete);
    first.finish();
    Access second(bench_, port_read(0x62, 1));
    wait_for(slot.processed, processing);
    EXPECT_EQ(bench_.notify(0), 0);
    EXPECT_EQ(slot.processed, processing);
    slot.reqs.pio_request.value = 0x5A;
    EXPECT_EQ(bench_.notify(0), 0);
    EXPECT_EQ(second.finish(), 0x5AU);
}

TEST_P(Requests, PauseLetsAnUnansweredRequestGo) {
    bench_.run();
    Access access(bench_, port_read(0xCF9, 1));
    wait_for(bench_.slot(0).processed, processing);
    EXPECT_EQ(bench_.call(ACRN_IOCTL_PAUSE_VM), 0);
    access.finish();
    EXPECT_EQ(bench_.slot(0).processed, processing) << "as the client left it";
    EXPECT_EQ(bench_.call(ACRN_IOCTL_CLEAR_VM_IOREQ), 0);
    EXPECT_EQ(bench_.slot(0).processed, complete);
    EXPECT_EQ(bench_.call(ACRN_IOCTL_RESET_VM), 0);
    EXPECT_EQ(bench_.slot(0).processed, free_slot);
    EXPECT_EQ(bench_.call(ACRN_IOCTL_START_VM), 0);
    Access next(bench_, port_read(0x61, 1));
    wait_for(bench_.slot(0).processed, processing);
    EXPECT_EQ(bench_.notify(0), 0);
}

TEST_P(Requests, ATripleFaultLooksLikeAPowerOff) {
    bench_.run();
    std::thread processor([&] { bench_.vm().stop(hypervisor::VmStop::triple_fault); });
    volatile acrn_io_request& slot = bench_.slot(0);
    wait_for(slot.processed, processing);
    EXPECT_EQ(slot.reqs.pio_request.address, 0x404U);
    EXPECT_EQ(slot.reqs.pio_request.size, 2U);
    EXPECT_EQ(slot.reqs.pio_request.value, 0x3400U);
    EXPECT_EQ(bench_.call(ACRN_IOCTL_PAUSE_VM), 0);
    processor.join();
}

TEST_P(Requests, AClosedFileEndsTheVmAndItsAttach) {
    bench_.run();
    const auto attached = bench_.attach();
    bench_.close();
    EXPECT_EQ(attached->value_or(1), -ENODEV);
}

TEST(RequestPages, APageThatCanShrinkIsNotTouchedHere) {
    SessionBench bench(true);
    ASSERT_EQ(bench.create(), 0);
    // Taking the page away would kill a process that had it mapped.
    ASSERT_EQ(bench.call(ACRN_IOCTL_CREATE_IOREQ_CLIENT), 0);
    ASSERT_EQ(bench.call(ACRN_IOCTL_START_VM), 0);
    Access access(bench, port_read(0x61, 1));
    wait_for(bench.slot(0).processed, processing);
    EXPECT_EQ(bench.notify(0), 0);
}

}  // namespace
}  // namespace cupule::hsm
