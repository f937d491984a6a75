// Guest memory that enters an IOMMU domain while the guest runs: the domain is a fake that holds
// the mapping until the test lets it go on.

#include "passthrough/domain_mapping.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <thread>
#include <utility>
#include <vector>

#include "event/event_loop.h"
#include "hypervisor/fake/fake_vm.h"
#include "io/io_dispatcher.h"
#include "passthrough/passthrough_device.h"
#include "passthrough/software_models.h"
#include "pci/config_registers.h"
#include "testing/config_range.h"

namespace cupule::passthrough {
namespace {

using Piece = std::pair<std::uint64_t, std::uint64_t>;  // base and size
constexpr std::uint64_t gib = std::uint64_t{1} << 30;

class HeldDomain : public DmaDomain {
  public:
    base::Result<void> map(memory::GuestAddress base, std::uint64_t size,
                           std::byte* /*host*/) override {
        event::MutexLock lock(mutex_);
        ++entered_;
        changed_.notify_all();
        while (held_) {
            changed_.wait(mutex_);
        }
        if (base.value == refused_) {
            return base::fail_errno(ENOMEM, "no room at {:#x}", base.value);
        }
        mapped_.emplace_back(base.value, size);
        return {};
    }
    base::Result<void> unmap(memory::GuestAddress base, std::uint64_t size) override {
        event::MutexLock lock(mutex_);
        std::erase_if(mapped_, [&](const Piece& piece) {
            return piece.first >= base.value && piece.first + piece.second <= base.value + size;
        });
        return {};
    }

    void hold() { set_held(true); }
    void let_go() { set_held(false); }
    void refuse(std::uint64_t base) {
        event::MutexLock lock(mutex_);
        refused_ = base;
    }
    /// Until that many pieces have been begun.
    void wait_for(unsigned pieces) {
        event::MutexLock lock(mutex_);
        while (entered_ < pieces) {
            changed_.wait(mutex_);
        }
    }
    std::vector<Piece> mapped() {
        event::MutexLock lock(mutex_);
        return mapped_;
    }

  private:
    void set_held(bool held) {
        event::MutexLock lock(mutex_);
        held_ = held;
        changed_.notify_all();
    }

    event::Mutex mutex_;
    event::Condition changed_;
    bool held_ CUPULE_GUARDED_BY(mutex_) = false;
    unsigned entered_ CUPULE_GUARDED_BY(mutex_) = 0;
    std::uint64_t refused_ CUPULE_GUARDED_BY(mutex_) = 1;
    std::vector<Piece> mapped_ CUPULE_GUARDED_BY(mutex_);
};

class DomainMappingTest : public ::testing::Test {
  protected:
    // Nobody touches it: it takes addresses, no room.
    DomainMappingTest()
        : memory_(*memory::GuestMemory::create({.pieces = {{{0}, 2 * gib}, {{4 * gib}, gib / 2}},
                                                .huge_pages = memory::HugePages::never})) {}

    const std::vector<Piece> all_{{0, gib}, {gib, gib}, {4 * gib, gib / 2}};
    HeldDomain domain_;
    std::unique_ptr<memory::GuestMemory> memory_;
    DomainMapping mapping_{domain_, *memory_};
};

TEST_F(DomainMappingTest, AllRamEntersInPiecesAndLeaves) {
    mapping_.begin();
    EXPECT_TRUE(mapping_.wait());
    EXPECT_EQ(domain_.mapped(), all_);
    mapping_.begin();
    EXPECT_TRUE(mapping_.wait());
    EXPECT_EQ(domain_.mapped(), all_) << "once";
    EXPECT_TRUE(mapping_.end());
    EXPECT_TRUE(domain_.mapped().empty());
    EXPECT_FALSE(mapping_.wait()) << "it is no longer there";
    mapping_.begin();
    EXPECT_TRUE(mapping_.wait());
    EXPECT_EQ(domain_.mapped(), all_);
}

TEST_F(DomainMappingTest, NoPageIsDiscardedFromTheBeginningToTheEnd) {
    ASSERT_TRUE(memory_->store<std::uint32_t>({0x1000}, 5));
    const auto value_after_discard = [&] {
        EXPECT_TRUE(memory_->discard(memory_->span({0x1000}, 0x1000)));
        return memory_->load<std::uint32_t>({0x1000});
    };
    domain_.hold();
    mapping_.begin();
    EXPECT_EQ(value_after_discard(), 5U) << "it is being mapped";
    domain_.let_go();
    EXPECT_TRUE(mapping_.wait());
    EXPECT_EQ(value_after_discard(), 5U);
    EXPECT_FALSE(memory_->can_show_files());
    EXPECT_TRUE(mapping_.end());
    EXPECT_TRUE(memory_->can_show_files());
    EXPECT_EQ(value_after_discard(), 0U);
}

TEST_F(DomainMappingTest, TheEndDoesNotWaitForAllOfIt) {
    domain_.hold();
    mapping_.begin();
    domain_.wait_for(1);
    EXPECT_TRUE(mapping_.check());
    std::thread ending([&] { EXPECT_TRUE(mapping_.end()); });
    domain_.let_go();
    ending.join();
    EXPECT_TRUE(domain_.mapped().empty());
}

TEST_F(DomainMappingTest, ARefusalLeavesNothingBehindAndIsForgottenByTheNextTry) {
    domain_.refuse(gib);
    mapping_.begin();
    EXPECT_EQ(mapping_.wait().error().code, ENOMEM);
    EXPECT_EQ(mapping_.check().error().code, ENOMEM);
    EXPECT_TRUE(domain_.mapped().empty());
    domain_.refuse(1);
    mapping_.begin();
    EXPECT_TRUE(mapping_.wait());
    EXPECT_TRUE(mapping_.check());
    EXPECT_EQ(domain_.mapped(), all_);
}

/// This thread without the capability to lock memory, as an ordinary user's.
class WithoutLockCapability {
  public:
    WithoutLockCapability() {
        syscall(SYS_capget, &header_, before_.data());
        auto without = before_;
        without[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
        syscall(SYS_capset, &header_, without.data());
    }
    ~WithoutLockCapability() { syscall(SYS_capset, &header_, before_.data()); }

  private:
    __user_cap_header_struct header_{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> before_{};
};

TEST_F(DomainMappingTest, ALimitOfLockedMemoryIsSaidBeforehand) {
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &before), 0);
    rlimit small = before;
    small.rlim_cur = std::min<rlim_t>(before.rlim_max, 64 << 10);
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &small), 0);
    base::Result<void> refused;
    {
        const WithoutLockCapability ordinary;
        EXPECT_TRUE(check_locked_memory(small.rlim_cur));
        refused = check_locked_memory(gib);
    }
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &before), 0);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("all 1024 MiB of guest memory"), std::string::npos);
    EXPECT_NE(refused.error().message.find("may keep 64 KiB: raise `ulimit -l`"), std::string::npos)
        << refused.error().message;
}

/// The same behind a device in software, whose guest does not wait for anybody.
class MasteringTest : public DomainMappingTest {
  protected:
    MasteringTest() : loop_(*event::EventLoop::create()) {
        auto host = *SoftwareDevice::create(make_i225_model(1, 5), *memory_);
        host_ = host.get();
        device_ = *PassthroughDevice::create(
            std::move(host), {},
            {.vm = vm_, .loop = *loop_, .monitor = monitor_, .memory = &mapping_});
        event::MutexLock lock(monitor_);
        device_->function().attach({.ports = &dispatcher_.ports(),
                                    .memory = &dispatcher_.mmio(),
                                    .monitor = &monitor_,
                                    .name = "passthru"});
        domain_.hold();
        mapping_.begin();
        domain_.wait_for(1);
    }
    ~MasteringTest() override { domain_.let_go(); }

    std::uint64_t read(std::uint64_t offset, unsigned size) {
        return testing::read_config(device_->function(), monitor_, offset, size);
    }
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) {
        testing::write_config(device_->function(), monitor_, offset, size, value);
    }
    bool host_masters() {
        event::MutexLock lock(monitor_);
        return pci::Command::bus_master.of(
            static_cast<std::uint16_t>(host_->read_config(pci::config::command, 2)));
    }

    std::unique_ptr<event::EventLoop> loop_;
    event::Monitor monitor_;
    hypervisor::FakeVm vm_{{}};
    io::IoDispatcher dispatcher_{1};
    SoftwareDevice* host_ = nullptr;
    std::unique_ptr<PassthroughDevice> device_;
};

TEST_F(MasteringTest, WhatNeedsNoMemoryDoesNotWait) {
    write(pci::config::bar0, 4, 0x8000'0000);
    write(pci::config::command, 2, pci::Command::memory_space.mask);
    EXPECT_EQ(read(0, 4), 0x15F2'8086U);
    EXPECT_FALSE(vm_.mappings().empty()) << "the BAR decodes";
    EXPECT_FALSE(host_masters());
    EXPECT_TRUE(device_->function().attributes().bus_mastering_off);
}

TEST_F(MasteringTest, TheDeviceMastersTheBusOnlyWhenAllRamIsThere) {
    std::atomic<bool> entered = false;
    std::vector<Piece> seen;
    std::thread vcpu([&] {
        event::MutexLock lock(monitor_);
        entered = true;
        device_->function().write_config(pci::config::command, 1, 0x6);
        seen = domain_.mapped();
    });
    while (!entered) {
        std::this_thread::yield();
    }
    domain_.let_go();
    vcpu.join();
    EXPECT_EQ(seen, all_) << "before the write has ended";
    EXPECT_TRUE(host_masters());
}

TEST_F(MasteringTest, ProcessorsThatAllTurnItOnAndOffComeThrough) {
    std::vector<std::thread> vcpus;
    for (unsigned i = 0; i < 4; ++i) {
        vcpus.emplace_back([&, i] {
            for (unsigned n = 0; n < 100; ++n) {
                write(pci::config::command, (n + i) % 2 == 0 ? 2 : 4, 0xFFFF'0547);
                write(pci::config::command, 2, 0);
            }
        });
    }
    domain_.let_go();
    for (std::thread& vcpu : vcpus) {
        vcpu.join();
    }
    EXPECT_FALSE(host_masters());
    write(pci::config::command, 2, pci::Command::bus_master.mask);
    EXPECT_TRUE(host_masters());
}

TEST_F(MasteringTest, AFailureIsALossOfTheDevice) {
    domain_.refuse(gib);
    domain_.let_go();
    write(pci::config::command, 2, 0x2);
    EXPECT_EQ(read(0, 4), 0x15F2'8086U) << "it does no DMA yet";
    EXPECT_FALSE(host_masters());
    write(pci::config::command, 2, 0x6);
    EXPECT_EQ(read(0, 4), 0xFFFF'FFFFU);
    EXPECT_EQ(read(pci::config::command, 2), 0xFFFFU);
    EXPECT_TRUE(host_->released());
    write(pci::config::command, 2, 0x6);
    device_->reset();
    EXPECT_EQ(read(0, 4), 0xFFFF'FFFFU) << "for good";
}

TEST_F(MasteringTest, AResetMeanwhileNeedsNoMemoryAndIsFollowedByAnotherMapping) {
    const unsigned before = host_->resets();
    {
        event::MutexLock lock(monitor_);
        device_->reset();
    }
    EXPECT_EQ(host_->resets(), before + 1);
    std::thread control([&] { EXPECT_TRUE(mapping_.end()); });
    domain_.let_go();
    control.join();
    EXPECT_TRUE(domain_.mapped().empty());
    mapping_.begin();
    write(pci::config::command, 2, 0x6);
    EXPECT_EQ(domain_.mapped(), all_);
    EXPECT_TRUE(host_masters());
}

TEST_F(MasteringTest, AFunctionThatIsResetAloneWaitsAgainForItsDriver) {
    domain_.let_go();
    write(pci::config::command, 2, 0x6);
    EXPECT_TRUE(host_masters());
    {
        event::MutexLock lock(monitor_);
        device_->function().function_level_reset();
    }
    EXPECT_FALSE(host_masters());
}

}  // namespace
}  // namespace cupule::passthrough
