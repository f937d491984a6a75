#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "event/mutex.h"
#include "hypervisor/kvm/ioapic_82093aa.h"
#include "hypervisor/kvm/pic_8259a.h"
#include "io/io_request.h"

namespace cupule::hypervisor {

/// What the chips are wired to: the processors' local APICs, which are the kernel's. Called with
/// the chips' lock held.
class SplitIrqchipHost : public IoapicOutputs {
  public:
    /// The boot processor has to look at `has_external`.
    virtual void external_interrupt() = 0;
};

/// An IOAPIC of 48 inputs and the two 8259As outside the kernel, below the local APICs in it
/// (KVM_CAP_SPLIT_IRQCHIP). Stands before the device model and takes the accesses that are the
/// chips'. Any thread.
class SplitIrqchip : public io::IoClient {
  public:
    explicit SplitIrqchip(SplitIrqchipHost& host) : host_(host), ioapic_(host) {}

    /// Whom all other accesses go to; before the run.
    void set_next(io::IoClient& next) { next_ = &next; }
    void handle(io::IoRequest& request) override CUPULE_EXCLUDES(mutex_);

    /// Drives an input of the IOAPIC, below its number, electrically. 2 is the timer and input 0 of
    /// the 8259s; the others below 16 are the 8259s' too.
    void drive(unsigned gsi, bool high) CUPULE_EXCLUDES(mutex_);
    /// A second source of a level input, below the IOAPIC's number: `assert_source` asserts it, in
    /// the sense that is_low_active gives, and the guest's end of the interrupt releases it and
    /// signals `resample_eventfd`, which stays open until `remove_source`. One input can have
    /// several.
    void add_source(unsigned gsi, int resample_eventfd) CUPULE_EXCLUDES(mutex_);
    void remove_source(unsigned gsi, int resample_eventfd) CUPULE_EXCLUDES(mutex_);
    void assert_source(unsigned gsi) CUPULE_EXCLUDES(mutex_);
    /// A processor reports the end of a level interrupt.
    void end_of_interrupt(std::uint8_t vector) CUPULE_EXCLUDES(mutex_);
    /// Whether the 8259s ask for an interrupt.
    bool has_external() const { return external_.load(); }
    /// The acknowledge cycle, by the boot processor.
    std::uint8_t acknowledge() CUPULE_EXCLUDES(mutex_);
    /// Power-on of the chips. The lines keep their levels, but sources are released and asked for
    /// theirs, as at the end of an interrupt.
    void reset() CUPULE_EXCLUDES(mutex_);

  private:
    bool handle_ioapic(io::IoRequest& request) CUPULE_EXCLUDES(mutex_);
    bool handle_pic(io::IoRequest& request) CUPULE_EXCLUDES(mutex_);
    void update_external() CUPULE_REQUIRES(mutex_);
    void update_input(unsigned gsi) CUPULE_REQUIRES(mutex_);
    struct Source {
        unsigned gsi = 0;
        int resample_eventfd = -1;
    };
    void release(const Source& source) CUPULE_REQUIRES(mutex_);

    SplitIrqchipHost& host_;
    io::IoClient* next_ = nullptr;
    std::atomic<bool> external_{false};

    /// Guards the chips. Held while messages are sent.
    event::Mutex mutex_;
    Ioapic82093aa ioapic_ CUPULE_GUARDED_BY(mutex_);
    Pic8259aPair pic_ CUPULE_GUARDED_BY(mutex_);
    std::vector<Source> sources_ CUPULE_GUARDED_BY(mutex_);
    /// One bit for each input that `drive` has made high, and that a source asserts.
    std::uint64_t driven_ CUPULE_GUARDED_BY(mutex_) = 0;
    std::uint64_t asserted_ CUPULE_GUARDED_BY(mutex_) = 0;
};

}  // namespace cupule::hypervisor
