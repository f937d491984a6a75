#pragma once

#include <atomic>

#include "device/timer/hpet.h"
#include "event/mutex.h"
#include "irq/interrupt.h"

namespace cupule::device {

/// An edge line that somebody else can cut. Open at first; pulses while cut are lost. Any thread.
class EdgeLineGate : public irq::EdgeLine {
  public:
    /// `output` must outlive the gate.
    explicit EdgeLineGate(irq::EdgeLine& output) : output_(output) {}
    void pulse() override;
    void set_open(bool open) { open_.store(open, std::memory_order_relaxed); }

  private:
    irq::EdgeLine& output_;
    std::atomic<bool> open_{true};
};

/// A level line that somebody else can cut. Open at first; while cut the output is low, and when it
/// is joined again it takes the level driven meanwhile. Any thread.
class LevelLineGate : public irq::LevelLine {
  public:
    /// `output` must outlive the gate.
    explicit LevelLineGate(irq::LevelLine& output) : output_(output) {}
    void set_level(bool asserted) override CUPULE_EXCLUDES(mutex_);
    void set_open(bool open) CUPULE_EXCLUDES(mutex_);

  private:
    irq::LevelLine& output_;
    /// Guards what follows and the order of calls into the output, whose own leaf lock comes after.
    event::Mutex mutex_;
    bool open_ CUPULE_GUARDED_BY(mutex_) = true;
    bool asserted_ CUPULE_GUARDED_BY(mutex_) = false;
};

/// Takes IRQ 0 from the 8254 and IRQ 8 from the clock while the HPET replaces them (IA-PC HPET
/// 1.0a, 2.3.5, LEG_RT_CNF): the machine gives `pit()` and `rtc()` to those two as their lines, and
/// this object to the HPET.
class LegacyTimerGates : public LegacyReplacement {
  public:
    LegacyTimerGates(irq::EdgeLine& pit_output, irq::LevelLine& rtc_output)
        : pit_(pit_output), rtc_(rtc_output) {}
    irq::EdgeLine& pit() { return pit_; }
    irq::LevelLine& rtc() { return rtc_; }
    void set_legacy_replacement(bool on) override;

  private:
    EdgeLineGate pit_;
    LevelLineGate rtc_;
};

}  // namespace cupule::device
