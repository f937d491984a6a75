#include "device/timer/line_gate.h"

namespace cupule::device {

void EdgeLineGate::pulse() {
    if (open_.load(std::memory_order_relaxed)) {
        output_.pulse();
    }
}

void LevelLineGate::set_level(bool asserted) {
    event::MutexLock lock(mutex_);
    asserted_ = asserted;
    output_.set_level(asserted_ && open_);
}

void LevelLineGate::set_open(bool open) {
    event::MutexLock lock(mutex_);
    open_ = open;
    output_.set_level(asserted_ && open_);
}

void LegacyTimerGates::set_legacy_replacement(bool on) {
    pit_.set_open(!on);
    rtc_.set_open(!on);
}

}  // namespace cupule::device
