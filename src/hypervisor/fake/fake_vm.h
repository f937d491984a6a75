#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "event/mutex.h"
#include "hypervisor/vm.h"

namespace cupule::hypervisor {

/// A hypervisor without processors: a test plays the guest by calling `access`, and looks at what
/// was injected. Behaves as the real ones do at the boundary: doorbells first, then the client;
/// nothing reaches the client while paused.
class FakeVm : public Vm {
  public:
    explicit FakeVm(VmSpec spec, unsigned gsi_count = 24);
    /// Waits for the threads that play processors, as a hypervisor joins its own.
    ~FakeVm() override CUPULE_EXCLUDES(mutex_);

    /// A thread that plays a processor: while it stays, the VM is there.
    class Stay {
      public:
        explicit Stay(FakeVm& vm) CUPULE_EXCLUDES(vm.mutex_);
        ~Stay() CUPULE_EXCLUDES(vm_.mutex_);
        Stay(const Stay&) = delete;
        Stay& operator=(const Stay&) = delete;
        FakeVm& vm() const { return vm_; }

      private:
        FakeVm& vm_;
    };

    // The guest's side.

    /// Performs one access; ones for reads while paused. Any thread, one at a time per vCPU.
    std::uint64_t access(io::IoRequest request) CUPULE_EXCLUDES(mutex_);
    std::uint64_t read_port(std::uint64_t port, std::uint8_t size, std::uint16_t vcpu = 0);
    void write_port(std::uint64_t port, std::uint8_t size, std::uint64_t value,
                    std::uint16_t vcpu = 0);
    std::uint64_t read_memory(std::uint64_t address, std::uint8_t size, std::uint16_t vcpu = 0);
    void write_memory(std::uint64_t address, std::uint8_t size, std::uint64_t value,
                      std::uint16_t vcpu = 0);
    bool gsi_level(irq::Gsi gsi) const CUPULE_EXCLUDES(mutex_);
    /// Rising edges seen so far.
    unsigned gsi_rises(irq::Gsi gsi) const CUPULE_EXCLUDES(mutex_);
    std::vector<irq::MsiMessage> take_messages() CUPULE_EXCLUDES(mutex_);
    const VcpuState& boot_state() const { return boot_state_; }
    bool running() const CUPULE_EXCLUDES(mutex_);
    unsigned resets() const CUPULE_EXCLUDES(mutex_);
    /// Base and size of what is mapped, ascending.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> mappings() const CUPULE_EXCLUDES(mutex_);
    /// The guest's own view of its memory, empty where [address, address + size) is not mapped as
    /// one.
    std::span<std::byte> memory(std::uint64_t address, std::uint64_t size) const
        CUPULE_EXCLUDES(mutex_);
    /// Ends the run as a processor would.
    void stop(VmStop reason) CUPULE_EXCLUDES(mutex_);
    /// The same, but nothing while paused: a processor that is not in the guest does not end it.
    void stop_if_running(VmStop reason) CUPULE_EXCLUDES(mutex_);

    // The boundary.
    base::Result<void> start(io::IoClient& client, VmEvents& events) override
        CUPULE_EXCLUDES(mutex_);
    void pause() override CUPULE_EXCLUDES(mutex_);
    void request_pause() override CUPULE_EXCLUDES(mutex_);
    base::Result<void> reset() override CUPULE_EXCLUDES(mutex_);
    base::Result<void> set_boot_state(const VcpuState& state) override;
    std::uint64_t request_count() const override CUPULE_EXCLUDES(mutex_);
    void set_gsi_level(irq::Gsi gsi, bool asserted) override CUPULE_EXCLUDES(mutex_);
    unsigned gsi_count() const override { return gsi_count_; }
    void send(const irq::MsiMessage& message) override CUPULE_EXCLUDES(mutex_);
    base::Result<void> map(memory::GuestAddress base, std::uint64_t size, std::byte* host,
                           MemoryAccess access) override CUPULE_EXCLUDES(mutex_);
    base::Result<void> unmap(memory::GuestAddress base) override CUPULE_EXCLUDES(mutex_);
    base::Result<void> add_doorbell(const io::Doorbell& doorbell) override;
    void remove_doorbell(const io::Doorbell& doorbell) override;
    base::Result<void> route_message(int eventfd, const irq::MsiMessage& message) override
        CUPULE_EXCLUDES(mutex_);
    base::Result<void> route_level(int eventfd, irq::Gsi gsi, int resample_eventfd) override
        CUPULE_EXCLUDES(mutex_);
    void route_to_pic(irq::Gsi gsi, std::optional<std::uint8_t> irq) override
        CUPULE_EXCLUDES(mutex_);
    void unroute(int eventfd) override CUPULE_EXCLUDES(mutex_);
    /// Where route_to_pic leads a GSI.
    std::optional<std::uint8_t> pic_route(irq::Gsi gsi) const CUPULE_EXCLUDES(mutex_);
    /// The guest ends the level interrupt of a GSI.
    void end_of_interrupt(irq::Gsi gsi) CUPULE_EXCLUDES(mutex_);
    /// Injects what signalled eventfds ask for, as the kernel would at once. Returns how many.
    unsigned deliver_event_interrupts() CUPULE_EXCLUDES(mutex_);

  private:
    void report_stop(VmStop reason) CUPULE_EXCLUDES(mutex_);

    const VmSpec spec_;
    const unsigned gsi_count_;
    VcpuState boot_state_;
    io::DoorbellTable doorbells_;

    mutable event::Mutex mutex_;
    event::Condition idle_;
    io::IoClient* client_ CUPULE_GUARDED_BY(mutex_) = nullptr;
    VmEvents* events_ CUPULE_GUARDED_BY(mutex_) = nullptr;
    bool running_ CUPULE_GUARDED_BY(mutex_) = false;
    unsigned in_client_ CUPULE_GUARDED_BY(mutex_) = 0;
    unsigned stays_ CUPULE_GUARDED_BY(mutex_) = 0;
    std::uint64_t requests_ CUPULE_GUARDED_BY(mutex_) = 0;
    unsigned resets_ CUPULE_GUARDED_BY(mutex_) = 0;
    std::vector<std::pair<bool, unsigned>> gsis_ CUPULE_GUARDED_BY(mutex_);
    std::vector<irq::MsiMessage> messages_ CUPULE_GUARDED_BY(mutex_);
    std::map<std::uint64_t, std::span<std::byte>> mappings_ CUPULE_GUARDED_BY(mutex_);
    std::map<int, irq::MsiMessage> message_routes_ CUPULE_GUARDED_BY(mutex_);
    std::map<int, std::pair<irq::Gsi, int>> level_routes_ CUPULE_GUARDED_BY(mutex_);
    std::map<std::uint32_t, std::optional<std::uint8_t>> pic_routes_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::hypervisor
