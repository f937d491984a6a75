// Needs a KVM that runs real-mode code; skipped, saying so, where there is none (the lab has one).

#include "hypervisor/kvm/kvm_vm.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <initializer_list>
#include <optional>

#include "base/file_descriptor.h"
#include "memory/guest_memory.h"

namespace cupule::hypervisor {
namespace {

/// Answers ports with their number and remembers what was written.
class Ports : public io::IoClient {
  public:
    void handle(io::IoRequest& request) override {
        event::MutexLock lock(mutex_);
        if (request.direction == io::IoDirection::read) {
            request.value = request.address & 0xFF;
        } else {
            seen_.push_back({request.address, request.value});
        }
        request.state = io::IoState::complete;
        if (request.address == stop_port_ && vm != nullptr) {
            vm->request_pause();
        }
        changed_.notify_all();
    }
    std::vector<std::pair<std::uint64_t, std::uint64_t>> wait_for(std::size_t count) {
        event::MutexLock lock(mutex_);
        while (seen_.size() < count) {
            changed_.wait(mutex_);
        }
        return seen_;
    }
    std::size_t seen() {
        event::MutexLock lock(mutex_);
        return seen_.size();
    }
    Vm* vm = nullptr;

  private:
    static constexpr std::uint64_t stop_port_ = 0x99;
    event::Mutex mutex_;
    event::Condition changed_;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> seen_ CUPULE_GUARDED_BY(mutex_);
};

class Stops : public VmEvents {
  public:
    void vm_stopped(VmStop reason, const std::string& text) override {
        event::MutexLock lock(mutex_);
        reason_ = reason;
        detail_ = text;
        changed_.notify_all();
    }
    VmStop wait() {
        event::MutexLock lock(mutex_);
        while (!reason_) {
            changed_.wait(mutex_);
        }
        return *reason_;
    }

  private:
    event::Mutex mutex_;
    event::Condition changed_;
    std::optional<VmStop> reason_ CUPULE_GUARDED_BY(mutex_);
    std::string detail_ CUPULE_GUARDED_BY(mutex_);
};

/// A VM with 64 KiB of RAM that starts at 0x1000 in real mode.
class KvmVmTest : public testing::Test {
  protected:
    void SetUp() override { make(KvmIrqchip::kernel); }
    void make(KvmIrqchip irqchip, bool owns_processors = false) {
        auto vm = KvmVm::create(
            {.name = "test", .vcpus = 1, .apic_ids = {0}, .owns_processors = owns_processors},
            irqchip);
        if (!vm) {
            GTEST_SKIP() << "no KVM here: " << vm.error().message;
        }
        vm_ = std::move(*vm);
        memory_ = *memory::GuestMemory::create({.pieces = {{{0}, 0x10000}}});
        const memory::RamRegion& ram = memory_->regions()[0];
        ASSERT_TRUE(vm_->map(ram.base, ram.size, ram.host, MemoryAccess::read_write).has_value());
    }

    void load(std::initializer_list<std::uint8_t> code) {
        const std::vector<std::uint8_t> bytes(code);
        ASSERT_TRUE(memory_->write({0x1000}, std::as_bytes(std::span(bytes))));
        set_boot_state();
    }
    void set_boot_state() {
        VcpuState state{.rsp = 0x8000, .rip = 0x1000};
        state.cs = {.base = 0, .limit = 0xFFFF, .selector = 0, .access_rights = 0x9B};
        ASSERT_TRUE(vm_->set_boot_state(state).has_value());
    }
    void start() { ASSERT_TRUE(vm_->start(ports_, stops_).has_value()); }

    std::unique_ptr<memory::GuestMemory> memory_;
    std::unique_ptr<KvmVm> vm_;
    Ports ports_;
    Stops stops_;
};

/// The same with processors of its own.
class KvmOwnerTest : public KvmVmTest {
  protected:
    void SetUp() override { make(KvmIrqchip::kernel, true); }
};

/// The same with the interrupt controllers in this process. DS is the IOAPIC's page, ES the local
/// APIC's, and every vector leads to 0x2000.
class KvmSplitTest : public KvmVmTest {
  protected:
    void SetUp() override { make(KvmIrqchip::split); }
    void load_with_handler(std::initializer_list<std::uint8_t> code,
                           std::initializer_list<std::uint8_t> handler) {
        load(code);
        const std::vector<std::uint8_t> bytes(handler);
        ASSERT_TRUE(memory_->write({0x2000}, std::as_bytes(std::span(bytes))));
        const std::vector<std::uint32_t> vectors(256, 0x2000);
        ASSERT_TRUE(memory_->write({0}, std::as_bytes(std::span(vectors))));
        VcpuState state{.rsp = 0x8000, .rip = 0x1000};
        state.cs = {.base = 0, .limit = 0xFFFF, .selector = 0, .access_rights = 0x9B};
        state.ds.base = 0xFEC0'0000;
        state.es.base = 0xFEE0'0000;
        state.idt.limit = 0x3FF;
        ASSERT_TRUE(vm_->set_boot_state(state).has_value());
    }
};

using Seen = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

TEST_F(KvmVmTest, HandsPortAndMemoryAccessesToTheClient) {
    load({0xE4, 0x42,                    // in al, 0x42
          0xE6, 0x50,                    // out 0x50, al
          0xB8, 0x00, 0xA0, 0x8E, 0xD8,  // mov ax, 0xA000; mov ds, ax
          0xA0, 0x34, 0x00,              // mov al, [0x34]
          0xE6, 0x51,                    // out 0x51, al
          0xC6, 0x06, 0x02, 0x00, 0x77,  // mov byte [2], 0x77
          0xF4});
    start();
    EXPECT_EQ(ports_.wait_for(3), (Seen{{0x50, 0x42}, {0x51, 0x34}, {0xA0002, 0x77}}));
    vm_->pause();
    EXPECT_EQ(vm_->request_count(), 5U);
}

TEST_F(KvmVmTest, AVcpuThatRequestsAPauseRunsNoFurtherInstruction) {
    ports_.vm = vm_.get();
    load({0xE6, 0x99,    // out 0x99, al
          0xE6, 0x51,    // out 0x51, al
          0xEB, 0xFC});  // back to the second
    start();
    ports_.wait_for(1);
    vm_->pause();
    EXPECT_EQ(ports_.seen(), 1U);
    start();
    ports_.wait_for(2);
    vm_->pause();
}

TEST_F(KvmOwnerTest, AGuestThatHaltsForEverIsPausedAndGoesOnAllTheSame) {
    load({0xE6, 0x50,    // out 0x50, al
          0xF4,          // hlt, without interrupts
          0xEB, 0xFB});  // again
    for (unsigned i = 0; i < 20; ++i) {
        start();
        ports_.wait_for(1);
        vm_->pause();
    }
    ASSERT_TRUE(vm_->reset().has_value());
    const std::size_t seen = ports_.seen();
    set_boot_state();
    start();
    ports_.wait_for(seen + 1);
    vm_->pause();
}

TEST_F(KvmVmTest, ResetsInPlaceHundredsOfTimes) {
    load({0xE6, 0x50, 0xEB, 0xFE});  // out 0x50, al; then for ever
    for (std::size_t i = 1; i <= 200; ++i) {
        start();
        ports_.wait_for(i);
        vm_->pause();
        ASSERT_TRUE(vm_->reset().has_value());
        set_boot_state();
    }
}

TEST_F(KvmVmTest, ATripleFaultStopsTheVmWithItsReason) {
    load({0x0F, 0x01, 0x1E, 0x00, 0x50,  // lidt [0x5000]: six zero bytes, so no vector fits
          0x66, 0x0F, 0x20, 0xC0,        // mov eax, cr0
          0x0C, 0x01,                    // or al, 1
          0x0F, 0x22, 0xC0,              // mov cr0, eax
          0x0F, 0x0B});                  // ud2
    start();
    EXPECT_EQ(stops_.wait(), VmStop::triple_fault);
    vm_->pause();
}

TEST_F(KvmVmTest, DoorbellsRingWithoutTheClient) {
    const base::FileDescriptor eventfd = *base::make_eventfd();
    const io::Doorbell doorbell{
        .kind = io::IoKind::port, .address = 0x60, .size = 1, .match = 5, .eventfd = eventfd.get()};
    ASSERT_TRUE(vm_->add_doorbell(doorbell).has_value());
    load({0xB0, 0x05, 0xE6, 0x60,  // mov al, 5; out 0x60, al
          0xB0, 0x06, 0xE6, 0x60,  // mov al, 6; out 0x60, al
          0xF4});
    start();
    EXPECT_EQ(ports_.wait_for(1), (Seen{{0x60, 6}}));
    vm_->pause();
    pollfd poll_fd{.fd = eventfd.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&poll_fd, 1, 0), 1);
    vm_->remove_doorbell(doorbell);
    vm_->remove_doorbell(doorbell);  // Only warns: nothing is there any more.
}

TEST_F(KvmSplitTest, AnInterruptOfThe8259sWakesTheBootProcessor) {
    load_with_handler({0xB0, 0x11, 0xE6, 0x20, 0xB0, 0x20, 0xE6, 0x21,  // ICW1, ICW2: vectors 0x20
                       0xB0, 0x04, 0xE6, 0x21, 0xB0, 0x01, 0xE6, 0x21,  // ICW3, ICW4
                       0xFB, 0xE6, 0x51,                                // sti; out 0x51, al
                       0xF4, 0xEB, 0xFD},                               // hlt, for ever
                      {0xE6, 0x50,                                      // out 0x50, al
                       0xB0, 0x20, 0xE6, 0x20, 0xCF});                  // end of interrupt; iret
    start();
    ports_.wait_for(1);
    for (std::size_t i = 0; i < 100; ++i) {
        vm_->drive_gsi(4, true);
        vm_->drive_gsi(4, false);
        ASSERT_EQ(ports_.wait_for(2 + i).back().first, 0x50U);
    }
    vm_->pause();
    EXPECT_EQ(ports_.seen(), 101U);
}

/// Lets the input 40 go, which is asserted low, at the third interrupt.
class ThirdLetsGo : public Ports {
  public:
    void handle(io::IoRequest& request) override {
        if (request.address == 0x50 && ++interrupts_ == 3) {
            vm->drive_gsi(40, true);
        }
        Ports::handle(request);
    }

  private:
    unsigned interrupts_ = 0;
};

TEST_F(KvmSplitTest, ALevelComesAgainAtEachEndUntilItFalls) {
    load_with_handler({0x66, 0x26, 0xC7, 0x06, 0xF0, 0,    0xFF, 1, 0, 0,  // local APIC on
                       0x66, 0xC7, 0x06, 0,    0,    0x61, 0,    0, 0,     // input 40's destination
                       0x66, 0xC7, 0x06, 0x10, 0,    0,    0,    0, 0,     //
                       0x66, 0xC7, 0x06, 0,    0,    0x60, 0,    0, 0,  // level, low, vector 0x30
                       0x66, 0xC7, 0x06, 0x10, 0,    0x30, 0xA0, 0, 0,  //
                       0xFB, 0xE6, 0x51,                                // sti; out 0x51, al
                       0xF4, 0xEB, 0xFD},                               // hlt, for ever
                      {0xE6, 0x50,                                      // out 0x50, al
                       0x66, 0x26, 0xC7, 0x06, 0xB0, 0, 0, 0, 0, 0,     // end of interrupt
                       0xCF});
    ThirdLetsGo ports;
    ports.vm = vm_.get();
    vm_->drive_gsi(40, true);
    ASSERT_TRUE(vm_->start(ports, stops_).has_value());
    EXPECT_EQ(ports.wait_for(1), (Seen{{0x51, 0}}));
    vm_->drive_gsi(40, false);
    EXPECT_EQ(ports.wait_for(4).size(), 4U);
    vm_->drive_gsi(40, false);
    EXPECT_GE(ports.wait_for(5).size(), 5U) << "it comes again, and for as long as it is asserted";
    vm_->pause();
    ASSERT_TRUE(vm_->reset().has_value());
}

}  // namespace
}  // namespace cupule::hypervisor
