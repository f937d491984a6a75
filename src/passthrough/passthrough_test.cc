// A passed-through device in a guest without processors: the device is a model in software, the
// hypervisor a fake, and the test plays the guest's driver.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "event/event_loop.h"
#include "hypervisor/fake/fake_vm.h"
#include "io/io_dispatcher.h"
#include "memory/guest_memory.h"
#include "passthrough/passthrough_device.h"
#include "passthrough/software_models.h"
#include "pci/bus.h"
#include "testing/config_range.h"

namespace cupule::passthrough {
namespace {

using Registers = SoftwareRegisters;

constexpr std::uint64_t bar_address = 0x8000'0000;
constexpr std::uint64_t table = bar_address + 0x2000;
constexpr std::uint64_t pending_bits = bar_address + 0x3000;
constexpr std::uint16_t msi = 0x50;
constexpr std::uint16_t msix = 0x70;
constexpr std::uint16_t express = 0xA0;
constexpr std::uint16_t time_capability = 0x1F0;
constexpr std::uint64_t message_address = 0xFEE0'0000;

class Passthrough : public ::testing::Test {
  protected:
    void build(SoftwareModel model, PassthroughOptions options = {}) {
        auto loop = event::EventLoop::create();
        auto memory = memory::GuestMemory::create(
            {.pieces = {{{0}, 1 << 20}}, .huge_pages = memory::HugePages::never});
        ASSERT_TRUE(loop && memory);
        loop_ = std::move(*loop);
        memory_ = std::move(*memory);
        auto host = SoftwareDevice::create(std::move(model), *memory_);
        ASSERT_TRUE(host) << host.error().message;
        host_ = host->get();
        auto device = PassthroughDevice::create(
            std::move(*host), std::move(options),
            {.vm = vm_, .loop = *loop_, .monitor = monitor_, .gone = [this] { ++gone_; }});
        ASSERT_TRUE(device) << device.error().message;
        device_ = std::move(*device);
        event::MutexLock lock(monitor_);
        device_->function().attach({.ports = &dispatcher_.ports(),
                                    .memory = &dispatcher_.mmio(),
                                    .monitor = &monitor_,
                                    .name = "passthru"});
    }

    /// As firmware and a driver do: the BAR at its place, memory decoding and bus mastering on.
    void start() {
        write(pci::config::bar0, 4, bar_address);
        write(pci::config::command, 2, 0x6);
        ASSERT_TRUE(vm_.start(dispatcher_, events_));
    }

    std::uint64_t read(std::uint64_t offset, unsigned size) {
        return testing::read_config(device_->function(), monitor_, offset, size);
    }
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) {
        testing::write_config(device_->function(), monitor_, offset, size, value);
    }
    void program_vector(unsigned vector, std::uint32_t data, bool masked) {
        const std::uint64_t entry = table + 16ULL * vector;
        vm_.write_memory(entry, 4, message_address);
        vm_.write_memory(entry + 4, 4, 0);
        vm_.write_memory(entry + 8, 4, data);
        vm_.write_memory(entry + 12, 4, masked ? 1 : 0);
    }
    /// The device interrupts; what the kernel would carry in, and what the event loop has to.
    std::vector<irq::MsiMessage> interrupt(unsigned vector) {
        host_->interrupt(vector);
        vm_.deliver_event_interrupts();
        loop_->run_once(0);
        return vm_.take_messages();
    }
    std::uint64_t host_command() {
        event::MutexLock lock(monitor_);
        return host_->read_config(pci::config::command, 2);
    }

    struct NoEvents : hypervisor::VmEvents {
        void vm_stopped(hypervisor::VmStop, const std::string&) override {}
    };
    NoEvents events_;
    event::Monitor monitor_;
    hypervisor::FakeVm vm_{{}};
    std::unique_ptr<event::EventLoop> loop_;
    std::unique_ptr<memory::GuestMemory> memory_;
    io::IoDispatcher dispatcher_{1};
    SoftwareDevice* host_ = nullptr;
    unsigned gone_ = 0;
    std::unique_ptr<PassthroughDevice> device_;
};

TEST_F(Passthrough, ShowsTheIdentityAndCapabilitiesOfTheHost) {
    build(make_i225_model(1, 5));
    EXPECT_EQ(read(0, 4), 0x15F2'8086U);
    EXPECT_EQ(read(8, 4), 0x0200'0003U);
    EXPECT_EQ(read(pci::config::capabilities, 1), 0x40U);
    EXPECT_EQ(read(0x40, 2), 0x5001U);
    EXPECT_EQ(read(msi, 2), 0x7005U);
    EXPECT_EQ(read(msix, 2), 0xA011U);
    EXPECT_EQ(read(msix + 2, 2), 4U);
    EXPECT_EQ(read(express, 2), 0x0010U);
    EXPECT_EQ(read(0x140, 4), 0x1C01'0003U);
    EXPECT_EQ(read(0x144, 4), 0xFFC9'0001U);
}

TEST_F(Passthrough, HidesWhatBelongsToTheHost) {
    build(make_i225_model(1, 5));
    EXPECT_EQ(read(0x42, 2) & 0xF800, 0U) << "no PME";
    EXPECT_EQ(read(0x1C0, 4), 0x0001'0018U) << "the list ends before PTM and L1 substates";
    EXPECT_EQ(read(0x1E0, 4), 0U);
    EXPECT_EQ(read(time_capability, 4), 0U);
    EXPECT_EQ(read(pci::config::interrupt_pin, 1), 0U) << "it has messages";
}

TEST_F(Passthrough, Class15_NoNumberOfVirtualFunctionsReachesTheHost) {
    constexpr std::uint16_t sriov = 0x1C0;
    constexpr std::uint16_t num_vfs = sriov + 0x10;  // PCIe 6.0, 9.3.3.7
    SoftwareModel model = make_i225_model(1, 5);
    model.config[sriov] = 0x10;  // SR-IOV in the place of LTR
    model.writable[num_vfs] = 0xFF;
    model.writable[num_vfs + 1] = 0xFF;
    build(std::move(model));
    for (std::uint64_t number = 0; number <= 0xFFFF; ++number) {
        write(num_vfs, 2, number);
    }
    write(sriov + 8, 2, 0x19);
    EXPECT_EQ(read(sriov, 4), 0U);
    EXPECT_EQ(read(num_vfs, 2), 0U);
    event::MutexLock lock(monitor_);
    EXPECT_EQ(host_->read_config(num_vfs, 2), 0U);
    EXPECT_EQ(host_->read_config(sriov + 8, 2) & 1U, 0U) << "VFs are on";
}

TEST_F(Passthrough, APtmRequesterIsTurnedOnInTheDevice) {
    build(make_i225_model(1, 5), {.time_measurement = true});
    EXPECT_EQ(read(time_capability, 4), 0x0001'001FU);
    EXPECT_EQ(read(time_capability + 4, 4), 0x401U);
    write(time_capability + 8, 4, 0xFFFF'FF01);
    EXPECT_EQ(read(time_capability + 8, 4), 0xFF01U);
    event::MutexLock lock(monitor_);
    EXPECT_EQ(host_->read_config(time_capability + 8, 4), 0xFF01U);
}

TEST_F(Passthrough, TheCommandRegisterReachesTheHostOnlyInBusMasteringAndIntxDisable) {
    build(make_i225_model(1, 5));
    EXPECT_EQ(host_command() & 0x404, 0U);
    write(pci::config::command, 2, 0x0547);
    EXPECT_EQ(read(pci::config::command, 2), 0x0547U);
    EXPECT_EQ(host_command(), 0x0404U);
    write(pci::config::command, 2, 0);
    EXPECT_EQ(host_command(), 0U);
}

TEST_F(Passthrough, PagesOfABarAreMappedStraightAndFollowIt) {
    build(make_i225_model(1, 5));
    start();
    using Mappings = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
    EXPECT_EQ(vm_.mappings(), (Mappings{{bar_address + 0x1000, 0x1000}}));
    std::memset(host_->mapped_page(), 0x5A, 8);
    EXPECT_EQ(std::to_integer<int>(vm_.memory(bar_address + 0x1000, 1)[0]), 0x5A);
    write(pci::config::bar0, 4, 0x9000'0000);
    EXPECT_EQ(vm_.mappings(), (Mappings{{0x9000'1000, 0x1000}}));
    write(pci::config::command, 2, 0);
    EXPECT_TRUE(vm_.mappings().empty());
}

TEST_F(Passthrough, PagesWithMsixStructuresAreTrapped) {
    SoftwareModel model = make_i225_model(1, 5);
    model.mapped_offset = 0;
    model.mapped_size = 0x4000;
    build(std::move(model));
    start();
    using Mappings = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
    EXPECT_EQ(vm_.mappings(), (Mappings{{bar_address, 0x2000}}));
    std::memset(host_->mapped_page(), 0x77, 0x4000);
    EXPECT_EQ(vm_.read_memory(table + 12, 4), 1U) << "the table is the emulation's";
    EXPECT_EQ(vm_.read_memory(table + 0x100, 4), 0x7777'7777U) << "beside it the device answers";
}

TEST_F(Passthrough, ABarOnOtherMemoryStillAnswers) {
    build(make_i225_model(1, 5));
    std::array<std::byte, 4096> ram{};
    ASSERT_TRUE(vm_.map({bar_address + 0x1000}, ram.size(), ram.data(),
                        hypervisor::MemoryAccess::read_write));
    start();
    EXPECT_EQ(vm_.mappings().size(), 1U);
    vm_.write_memory(bar_address + Registers::scratch, 4, 0x1234);
    EXPECT_EQ(vm_.read_memory(bar_address + Registers::scratch, 4), 0x1234U);
}

TEST_F(Passthrough, BarAccessesOfAnyAlignmentReachTheDevice) {
    build(make_i225_model(1, 5));
    start();
    EXPECT_EQ(vm_.read_memory(bar_address, 4), Registers::identity_value);
    vm_.write_memory(bar_address + 0x1001, 4, 0xAABB'CCDD);
    EXPECT_EQ(vm_.read_memory(bar_address + 0x1001, 4), 0xAABB'CCDDU);
    EXPECT_GE(device_->trapped_accesses(), 3U);
}

TEST_F(Passthrough, AnMsixInterruptGoesInByItsEventfdAlone) {
    build(make_i225_model(1, 5));
    start();
    program_vector(3, 0x4123, false);
    write(msix + 2, 2, 0x8000);
    host_->interrupt(3);
    EXPECT_EQ(vm_.deliver_event_interrupts(), 1U);
    EXPECT_EQ(vm_.take_messages(),
              (std::vector<irq::MsiMessage>{{.address = message_address, .data = 0x4123}}));
    program_vector(3, 0x4200, false);
    EXPECT_EQ(interrupt(3),
              (std::vector<irq::MsiMessage>{{.address = message_address, .data = 0x4200}}));
}

TEST_F(Passthrough, AMaskedMsixVectorIsPendingUntilItIsUnmasked) {
    build(make_i225_model(1, 5));
    start();
    program_vector(1, 0x11, false);
    write(msix + 2, 2, 0x8000);
    vm_.write_memory(table + 16 + 12, 4, 1);
    EXPECT_TRUE(interrupt(1).empty());
    EXPECT_EQ(vm_.read_memory(pending_bits, 4), 2U);
    vm_.write_memory(table + 16 + 12, 4, 0);
    EXPECT_EQ(vm_.take_messages().size(), 1U);
    EXPECT_EQ(vm_.read_memory(pending_bits, 4), 0U);
    EXPECT_EQ(interrupt(1).size(), 1U);
}

TEST_F(Passthrough, HeldInterruptsGoInOncePerVectorWhenTheyAreLetThroughAndNoneIsLost) {
    build(make_i225_model(1, 5));
    start();
    program_vector(1, 0x11, false);
    program_vector(2, 0x22, false);
    write(msix + 2, 2, 0x8000);
    const auto hold = [this](bool held) {
        event::MutexLock lock(monitor_);
        device_->hold_interrupts(held);
    };
    hold(true);
    for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(interrupt(1).empty());
    }
    {
        event::MutexLock lock(monitor_);
        device_->let_interrupts_through();
        device_->let_interrupts_through();
    }
    EXPECT_EQ(vm_.take_messages(),
              (std::vector<irq::MsiMessage>{{.address = message_address, .data = 0x11}}));
    EXPECT_TRUE(interrupt(2).empty());
    hold(false);
    EXPECT_EQ(vm_.take_messages(),
              (std::vector<irq::MsiMessage>{{.address = message_address, .data = 0x22}}));
    EXPECT_EQ(interrupt(1).size(), 1U);
    EXPECT_EQ(vm_.deliver_event_interrupts(), 0U);
}

TEST_F(Passthrough, AVectorThatIsMaskedWhileHeldBecomesPending) {
    build(make_i225_model(1, 5));
    start();
    program_vector(1, 0x11, false);
    write(msix + 2, 2, 0x8000);
    {
        event::MutexLock lock(monitor_);
        device_->hold_interrupts(true);
    }
    EXPECT_TRUE(interrupt(1).empty());
    vm_.write_memory(table + 16 + 12, 4, 1);
    loop_->run_once(0);
    EXPECT_EQ(vm_.read_memory(pending_bits, 4), 2U);
    {
        event::MutexLock lock(monitor_);
        device_->hold_interrupts(false);
    }
    vm_.write_memory(table + 16 + 12, 4, 0);
    EXPECT_EQ(vm_.take_messages().size(), 1U);
}

TEST_F(Passthrough, WithMsixOffNothingArrives) {
    build(make_i225_model(1, 5));
    start();
    program_vector(0, 0x11, false);
    write(msix + 2, 2, 0x8000);
    write(msix + 2, 2, 0);
    EXPECT_TRUE(interrupt(0).empty());
}

/// This process may open nothing as long as it lives, and what is logged meanwhile.
class NoDescriptors : public base::LogSink {
  public:
    NoDescriptors() {
        sink_before_ = base::set_log_sink(this);
        // UBSan looks at an object's type by a pipe when it meets the first of its kind.
        base::log_error("met");
        lines.clear();
        getrlimit(RLIMIT_NOFILE, &before_);
        const rlimit none{.rlim_cur = 0, .rlim_max = before_.rlim_max};
        setrlimit(RLIMIT_NOFILE, &none);
    }
    ~NoDescriptors() override {
        base::set_log_sink(sink_before_);
        setrlimit(RLIMIT_NOFILE, &before_);
    }
    void write(base::LogLevel /*level*/, std::string_view line) override {
        lines.emplace_back(line);
    }
    std::vector<std::string> lines;

  private:
    rlimit before_{};
    base::LogSink* sink_before_ = nullptr;
};

TEST_F(Passthrough, WhatTheHostCannotConnectIsSaidOnceHoweverOftenTheGuestAsks) {
    build(make_i225_model(1, 5));
    start();
    {
        NoDescriptors none;
        for (unsigned i = 0; i < 100; ++i) {
            program_vector(i % 5, 0x11, false);
            write(msix + 2, 2, 0x8000);
            vm_.write_memory(table + 16ULL * (i % 5) + 12, 4, 1);
            write(msix + 2, 2, 0);
        }
        ASSERT_EQ(none.lines.size(), 1U);
        EXPECT_NE(none.lines[0].find("model:i225: vector 0: "), std::string::npos);
    }
    program_vector(3, 0x4123, false);
    write(msix + 2, 2, 0x8000);
    EXPECT_EQ(interrupt(3).size(), 1U) << "later it can";
}

TEST_F(Passthrough, MsiVectorsArriveWithTheirNumbers) {
    build(make_i225_model(4, 0));
    start();
    write(msi + 4, 4, message_address);
    write(msi + 12, 2, 0x40);
    write(msi + 2, 2, 0x21);  // enabled, 4 vectors
    EXPECT_EQ(interrupt(3),
              (std::vector<irq::MsiMessage>{{.address = message_address, .data = 0x43}}));
    write(msi + 2, 2, 0x01);  // one vector is left
    EXPECT_TRUE(interrupt(3).empty());
    EXPECT_EQ(interrupt(0).size(), 1U);
    write(msi + 16, 4, 1);
    EXPECT_TRUE(interrupt(0).empty());
    EXPECT_EQ(read(msi + 20, 4), 1U);
    write(msi + 16, 4, 0);
    EXPECT_EQ(vm_.take_messages().size(), 1U);
}

TEST_F(Passthrough, MsixIsMadeOfMsiWhereTheUserWantsIt) {
    build(make_i225_model(4, 0), {.msix_on_msi_bar = 2});
    std::uint64_t at = read(pci::config::capabilities, 1);
    while (at != 0 && read(at, 1) != pci::capability::msix) {
        EXPECT_NE(read(at, 1), pci::capability::msi);
        at = read(at + 1, 1);
    }
    ASSERT_NE(at, 0U);
    EXPECT_EQ(read(at + 2, 2), 3U);
    EXPECT_EQ(read(at + 4, 4), 2U);
    start();
    write(pci::config::bar0 + 8, 4, 0xA000'0000);
    vm_.write_memory(0xA000'0020, 4, message_address);
    vm_.write_memory(0xA000'0028, 4, 0x77);
    vm_.write_memory(0xA000'002C, 4, 0);
    write(at + 2, 2, 0x8000);
    EXPECT_EQ(interrupt(2),
              (std::vector<irq::MsiMessage>{{.address = message_address, .data = 0x77}}));
}

TEST_F(Passthrough, MsixOnMsiNeedsAFreeBarAndADeviceWithoutMsix) {
    build(make_i225_model(1, 5));
    auto memory = memory::GuestMemory::create(
        {.pieces = {{{0}, 1 << 20}}, .huge_pages = memory::HugePages::never});
    ASSERT_TRUE(memory);
    const auto attempt = [&](SoftwareModel model, unsigned bar) {
        auto host = SoftwareDevice::create(std::move(model), **memory);
        return PassthroughDevice::create(std::move(*host), {.msix_on_msi_bar = bar},
                                         {.vm = vm_, .loop = *loop_, .monitor = monitor_});
    };
    const auto taken = attempt(make_i225_model(4, 0), 0);
    ASSERT_FALSE(taken);
    EXPECT_NE(taken.error().message.find("uses BAR 0 itself"), std::string::npos);
    const auto has_msix = attempt(make_i225_model(1, 5), 2);
    ASSERT_FALSE(has_msix);
    EXPECT_NE(has_msix.error().message.find("without MSI-X"), std::string::npos);
}

TEST_F(Passthrough, IntxArrivesAtItsGsiAndYieldsToMessages) {
    build(make_i225_model(1, 5), {.keep_intx = true});
    EXPECT_TRUE(device_->function().attributes().uses_intx);
    {
        event::MutexLock lock(monitor_);
        device_->connect_intx({17});
    }
    start();
    host_->interrupt(0);
    EXPECT_EQ(vm_.deliver_event_interrupts(), 1U);
    EXPECT_TRUE(vm_.gsi_level({17}));
    program_vector(0, 0x11, false);
    write(msix + 2, 2, 0x8000);
    EXPECT_EQ(interrupt(0).size(), 1U);
    EXPECT_EQ(vm_.gsi_rises({17}), 1U);
    write(msix + 2, 2, 0);
    host_->interrupt(0);
    EXPECT_EQ(vm_.deliver_event_interrupts(), 1U);
    EXPECT_EQ(vm_.gsi_rises({17}), 2U);
}

/// INTx at GSI 17 of a device that has nothing else.
class PassthroughIntx : public Passthrough {
  protected:
    void SetUp() override {
        build(*find_software_model("conventional"));
        {
            event::MutexLock lock(monitor_);
            device_->connect_intx(gsi);
        }
        start();
    }
    /// How many reach the guest of those that the device has to say.
    unsigned interrupts(unsigned vector = 0) {
        host_->interrupt(vector);
        return vm_.deliver_event_interrupts();
    }
    /// Any access: what VFIO has a thread for.
    unsigned again() {
        read(pci::config::vendor_id, 2);
        event::MutexLock lock(monitor_);
        host_->read_config(pci::config::vendor_id, 2);
        return vm_.deliver_event_interrupts();
    }
    void reset_processors() {
        vm_.pause();
        ASSERT_TRUE(vm_.reset());
        ASSERT_TRUE(vm_.start(dispatcher_, events_));
    }
    static constexpr irq::Gsi gsi{17};
};

TEST_F(PassthroughIntx, IsMaskedUntilItsEndAndComesAgainWhileItStands) {
    EXPECT_EQ(interrupts(), 1U);
    EXPECT_EQ(interrupts(), 0U) << "masked";
    vm_.end_of_interrupt(gsi);
    EXPECT_EQ(again(), 1U) << "it still stands";
    vm_.write_memory(bar_address + Registers::acknowledge, 4, 0);
    vm_.end_of_interrupt(gsi);
    EXPECT_EQ(again(), 0U);
    EXPECT_EQ(interrupts(), 1U);
}

TEST_F(PassthroughIntx, StandsInTheStatusRegisterAsTheDeviceSays) {
    constexpr std::uint64_t bit = pci::Status::interrupt.mask;
    EXPECT_EQ(read(pci::config::status, 2) & bit, 0U);
    EXPECT_EQ(interrupts(), 1U);
    EXPECT_EQ(read(pci::config::status, 2) & bit, bit);
    // As uio_pci_generic and VFIO do: both registers at once, then INTx off.
    EXPECT_EQ(read(pci::config::command, 4) >> 16 & bit, bit);
    write(pci::config::command, 2, 0x0406);
    EXPECT_EQ(read(pci::config::status, 1) & bit, bit) << "whether or not it may interrupt";
    write(pci::config::status, 2, 0xFFFF);
    EXPECT_EQ(read(pci::config::status, 2) & bit, bit);
    vm_.write_memory(bar_address + Registers::acknowledge, 4, 0);
    EXPECT_EQ(read(pci::config::status, 2) & bit, 0U);
}

TEST_F(PassthroughIntx, WorksAfterAResetOfTheMachineWithAnInterruptThatWasNotEnded) {
    EXPECT_EQ(interrupts(), 1U);
    {
        event::MutexLock lock(monitor_);
        device_->reset();
    }
    reset_processors();
    start();
    EXPECT_EQ(again(), 0U) << "the device was reset";
    EXPECT_EQ(interrupts(), 1U);
}

TEST_F(PassthroughIntx, ComesAgainWhenProcessorsWakeThatHadNotEndedIt) {
    EXPECT_EQ(interrupts(), 1U);
    reset_processors();
    EXPECT_FALSE(vm_.gsi_level(gsi));
    EXPECT_EQ(again(), 1U);
    EXPECT_EQ(interrupts(), 0U);
    vm_.write_memory(bar_address + Registers::acknowledge, 4, 0);
    vm_.end_of_interrupt(gsi);
    EXPECT_EQ(interrupts(), 1U);
}

TEST_F(PassthroughIntx, WithoutDescriptorsIsSaidOnce) {
    NoDescriptors none;
    for (unsigned i = 0; i < 100; ++i) {
        event::MutexLock lock(monitor_);
        device_->disconnect_intx();
        device_->connect_intx(gsi);
    }
    EXPECT_EQ(none.lines.size(), 1U);
}

TEST_F(Passthrough, FunctionLevelResetConnectsIntxAfresh) {
    build(make_i225_model(1, 5), {.keep_intx = true});
    {
        event::MutexLock lock(monitor_);
        device_->connect_intx({17});
    }
    start();
    host_->interrupt(0);
    EXPECT_EQ(vm_.deliver_event_interrupts(), 1U);
    write(express + 8, 2, 0x8000);
    EXPECT_EQ(vm_.deliver_event_interrupts(), 0U);
    host_->interrupt(0);
    EXPECT_EQ(vm_.deliver_event_interrupts(), 1U);
}

TEST_F(Passthrough, FunctionLevelResetResetsTheRealFunction) {
    build(make_i225_model(1, 5));
    start();
    program_vector(0, 0x11, false);
    write(msix + 2, 2, 0x8000);
    vm_.write_memory(bar_address + Registers::scratch, 4, 0x1234);
    const unsigned before = host_->resets();
    write(express + 8, 2, 0x8000);
    EXPECT_EQ(host_->resets(), before + 1);
    EXPECT_EQ(read(express + 8, 2) & 0x8000, 0U);
    EXPECT_EQ(read(pci::config::command, 2), 0U);
    EXPECT_EQ(host_command() & 4, 0U);
    EXPECT_TRUE(vm_.mappings().empty());
    EXPECT_TRUE(interrupt(0).empty());
    start();
    EXPECT_EQ(vm_.read_memory(bar_address + Registers::scratch, 4), 0U);
}

constexpr std::uint16_t power_state = 0x44;  // PMCSR of the model

TEST_F(Passthrough, InD3HotTheDeviceNeitherReachesMemoryNorInterrupts) {
    build(make_i225_model(1, 5));
    start();
    program_vector(0, 0x11, false);
    write(msix + 2, 2, 0x8000);
    const unsigned resets = host_->resets();
    write(power_state, 2, 3);
    EXPECT_EQ(host_command() & 4, 0U);
    EXPECT_EQ(read(pci::config::command, 2), 0x6U) << "the guest's own register stays";
    EXPECT_TRUE(vm_.mappings().empty());
    EXPECT_TRUE(interrupt(0).empty());
    write(pci::config::command, 2, 0x6);
    EXPECT_EQ(host_command() & 4, 0U);
    write(power_state, 2, 0);
    EXPECT_EQ(host_->resets(), resets) << "it says No_Soft_Reset";
    EXPECT_EQ(host_command() & 4, 4U);
    EXPECT_EQ(vm_.mappings().size(), 1U);
    EXPECT_EQ(interrupt(0).size(), 1U);
}

TEST_F(Passthrough, ADeviceWithoutNoSoftResetIsResetOnItsWayFromD3HotToD0) {
    SoftwareModel model = make_i225_model(1, 5);
    model.config[power_state] = 0;
    build(std::move(model));
    start();
    const unsigned resets = host_->resets();
    write(power_state, 2, 3);
    EXPECT_EQ(host_->resets(), resets);
    write(power_state, 2, 0);
    EXPECT_EQ(host_->resets(), resets + 1);
    EXPECT_EQ(read(pci::config::command, 2), 0U);
    EXPECT_EQ(host_command() & 4, 0U);
    start();
    EXPECT_EQ(host_command() & 4, 4U);
}

TEST_F(Passthrough, IntxThatStandsInD3HotComesInD0) {
    build(make_i225_model(1, 5), {.keep_intx = true});
    {
        event::MutexLock lock(monitor_);
        device_->connect_intx({17});
    }
    start();
    write(power_state, 2, 3);
    host_->interrupt(0);
    EXPECT_EQ(vm_.deliver_event_interrupts(), 0U);
    write(power_state, 2, 0);
    EXPECT_EQ(vm_.deliver_event_interrupts(), 1U);
}

TEST_F(Passthrough, ResetOfTheMachineResetsTheRealFunction) {
    build(make_i225_model(1, 5));
    start();
    const unsigned before = host_->resets();
    event::MutexLock lock(monitor_);
    device_->reset();
    EXPECT_EQ(host_->resets(), before + 1);
    EXPECT_FALSE(device_->function().bus_master());
}

TEST_F(Passthrough, DmaReachesGuestMemoryAndNothingElse) {
    build(make_i225_model(1, 5));
    start();
    ASSERT_TRUE(memory_->store<std::uint32_t>({0x1000}, 0x600D'F00D));
    const auto copy = [&](std::uint64_t from, std::uint64_t to) {
        vm_.write_memory(bar_address + Registers::source, 8, from);
        vm_.write_memory(bar_address + Registers::destination, 8, to);
        vm_.write_memory(bar_address + Registers::length, 4, 4);
        vm_.write_memory(bar_address + Registers::start, 4, 0);
        return vm_.read_memory(bar_address + Registers::status, 4);
    };
    EXPECT_EQ(copy(0x1000, 0x2000), Registers::done);
    EXPECT_EQ(memory_->load<std::uint32_t>({0x2000}), 0x600D'F00DU);
    EXPECT_EQ(copy(0x10'0000, 0x2000), Registers::blocked);
    EXPECT_EQ(copy(0x1000, 0xF'FFFE), Registers::blocked);
    EXPECT_EQ(copy(~std::uint64_t{0}, 0x2000), Registers::blocked);
    EXPECT_EQ(host_->blocked_copies(), 3U);
    write(pci::config::command, 2, 0x2);
    EXPECT_EQ(copy(0x1000, 0x2000), Registers::blocked) << "no bus mastering, no DMA";
}

TEST_F(Passthrough, ADeviceThatIsTakenAwayIsGoneForTheGuestAndTheMachineGoesOn) {
    build(make_i225_model(1, 5), {.keep_intx = true});
    start();
    program_vector(0, 0x11, false);
    write(msix + 2, 2, 0x8000);
    base::signal_eventfd(host_->loss_eventfd(HostLoss::requested));
    loop_->run_once(0);
    loop_->run_once(0);
    EXPECT_EQ(gone_, 1U) << "the guest is told, with no monitor held";
    EXPECT_TRUE(host_->released());
    EXPECT_EQ(read(0, 4), 0xFFFF'FFFFU);
    EXPECT_TRUE(vm_.mappings().empty());
    EXPECT_EQ(vm_.read_memory(bar_address, 4), 0xFFFF'FFFFU);
    EXPECT_TRUE(interrupt(0).empty());
    write(pci::config::command, 2, 0x6);
    event::MutexLock lock(monitor_);
    device_->reset();
    EXPECT_TRUE(device_->function().removed());
}

TEST_F(Passthrough, AnErrorThatIsNotCorrectedTakesTheDeviceAwayOnce) {
    build(make_i225_model(1, 5));
    start();
    vm_.write_memory(bar_address + Registers::failure, 4, 1);
    loop_->run_once(0);
    EXPECT_TRUE(host_->released());
    base::signal_eventfd(host_->loss_eventfd(HostLoss::requested));
    for (unsigned i = 0; i < 4; ++i) {
        loop_->run_once(0);
    }
    EXPECT_EQ(gone_, 1U);
    EXPECT_TRUE(host_->released());
    EXPECT_EQ(read(0, 4), 0xFFFF'FFFFU);
}

TEST_F(Passthrough, TheUsersRomIsShown) {
    std::vector<std::uint8_t> rom(0x900, 0xC3);
    rom[0] = 0x55;
    rom[1] = 0xAA;
    build(make_i225_model(1, 5), {.rom = rom});
    start();
    write(pci::config::expansion_rom, 4, 0xFFFF'F800);
    EXPECT_EQ(read(pci::config::expansion_rom, 4), 0xFFFF'F000U) << "the next power of two";
    write(pci::config::expansion_rom, 4, 0xB000'0001);
    EXPECT_EQ(vm_.read_memory(0xB000'0000, 4), 0xC3C3'AA55U);
    EXPECT_EQ(vm_.read_memory(0xB000'0900, 1), 0xFFU);
}

TEST_F(Passthrough, ABridgeIsRefused) {
    build(make_i225_model(1, 5));
    SoftwareModel model = make_i225_model(1, 5);
    model.config[pci::config::header_type] = 1;
    auto host = SoftwareDevice::create(std::move(model), *memory_);
    ASSERT_TRUE(host);
    const auto device = PassthroughDevice::create(std::move(*host), {},
                                                  {.vm = vm_, .loop = *loop_, .monitor = monitor_});
    ASSERT_FALSE(device);
    EXPECT_NE(device.error().message.find("bridge"), std::string::npos);
}

}  // namespace
}  // namespace cupule::passthrough
