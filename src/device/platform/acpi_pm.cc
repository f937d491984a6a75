#include "device/platform/acpi_pm.h"

#include "base/assert.h"
#include "base/bits.h"
#include "base/field.h"
#include "device/byte_lanes.h"

namespace cupule::device {
namespace {

using base::Bit;
using base::Field;

constexpr std::uint64_t offset_status = 0;
constexpr std::uint64_t offset_enable = 2;
constexpr std::uint64_t offset_control = 4;
constexpr std::uint64_t offset_reserved = 6;
constexpr std::uint64_t offset_timer = 8;
constexpr std::uint64_t offset_general_status = AcpiPm::gpe0_offset;
constexpr std::uint64_t offset_general_enable = offset_general_status + 1;
constexpr unsigned general_events = 8;

// The same places in PM1_STS and PM1_EN.
namespace event_bit {
constexpr Bit<std::uint16_t, 0> timer{};         // TMR_STS, TMR_EN
constexpr Bit<std::uint16_t, 4> bus_master{};    // BM_STS
constexpr Bit<std::uint16_t, 5> global{};        // GBL_STS, GBL_EN
constexpr Bit<std::uint16_t, 8> power_button{};  // PWRBTN_STS, PWRBTN_EN
constexpr Bit<std::uint16_t, 9> sleep_button{};  // SLPBTN_STS, SLPBTN_EN
constexpr Bit<std::uint16_t, 10> rtc{};          // RTC_STS, RTC_EN
constexpr Bit<std::uint16_t, 15> wake{};         // WAK_STS
constexpr std::uint16_t can_interrupt =
    timer.mask | global.mask | power_button.mask | sleep_button.mask | rtc.mask;
}  // namespace event_bit

namespace control_bit {
constexpr Bit<std::uint16_t, 0> sci_enable{};         // SCI_EN
constexpr Bit<std::uint16_t, 1> bus_master_reload{};  // BM_RLD
constexpr Field<std::uint16_t, 12, 10> sleep_type{};  // SLP_TYP
constexpr Bit<std::uint16_t, 13> sleep_enable{};      // SLP_EN, write-only
// SCI_EN is firmware's: operating systems must not change it (4.8.4.1.2).
constexpr std::uint16_t writable = bus_master_reload.mask | sleep_type.mask;
constexpr std::uint16_t stored = writable | sci_enable.mask;
}  // namespace control_bit

constexpr base::WriteRule<std::uint16_t> status_rule{
    .writable = 0,
    .write_1_to_clear =
        event_bit::can_interrupt | event_bit::bus_master.mask | event_bit::wake.mask};
constexpr base::WriteRule<std::uint16_t> enable_rule{.writable = event_bit::can_interrupt,
                                                     .write_1_to_clear = 0};

}  // namespace

AcpiPm::AcpiPm(irq::LevelLine& sci, const event::Clock& clock, event::TimerService& timers,
               SleepRequests& requests, PmTimerWidth timer_width)
    : sci_(sci),
      clock_(clock),
      requests_(requests),
      timer_width_(timer_width),
      timer_(timers.make_timer([this] {
          collect_carry();
          arm_timer();
          update_irq();
      })) {
    power_on();
}

void AcpiPm::power_on() {
    state_ = State{};
    state_.timer_base_ns = clock_.now_ns();
}

std::uint64_t AcpiPm::ticks() const {
    return event::ns_to_ticks(base::wrapping_sub(clock_.now_ns(), state_.timer_base_ns),
                              timer_frequency_hz);
}

/// Ticks between two changes of the timer's top bit.
std::uint64_t AcpiPm::carry_ticks() const {
    return base::bit(static_cast<unsigned>(timer_width_) - 1);
}

std::uint64_t AcpiPm::read(std::uint64_t offset, unsigned size) {
    collect_carry();
    // One look at everything, so that a wide or misaligned read is consistent.
    const std::uint64_t events =
        state_.status | std::uint64_t{state_.enable} << 16 | std::uint64_t{state_.control} << 32;
    const std::uint64_t timer = (ticks() & base::mask(static_cast<unsigned>(timer_width_))) |
                                std::uint64_t{state_.general_status} << 32 |
                                std::uint64_t{state_.general_enable} << 40;
    const std::uint64_t value = read_byte_lanes(offset, size, [=](std::uint64_t at) {
        return at < offset_timer ? base::read_lane(events, at, 1)
                                 : base::read_lane(timer, at - offset_timer, 1);
    });
    update_irq();
    return value;
}

void AcpiPm::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    collect_carry();
    write_byte_lanes(offset, size, value,
                     [this](std::uint64_t at, std::uint8_t byte) { write_byte(at, byte); });
    arm_timer();
    update_irq();
}

void AcpiPm::write_byte(std::uint64_t offset, std::uint8_t value) {
    if (offset < offset_enable) {
        const auto written = base::write_lane<std::uint16_t>(0, offset - offset_status, 1, value);
        state_.status = status_rule.apply(state_.status, written);
    } else if (offset < offset_control) {
        const std::uint16_t written =
            base::write_lane(state_.enable, offset - offset_enable, 1, value);
        state_.enable = enable_rule.apply(state_.enable, written);
    } else if (offset < offset_reserved) {
        write_control(base::write_lane(state_.control, offset - offset_control, 1, value));
    } else if (offset == offset_general_status) {
        state_.general_status &= static_cast<std::uint8_t>(~value);
    } else if (offset == offset_general_enable) {
        state_.general_enable = value;
    }
}

void AcpiPm::write_control(std::uint16_t value) {
    state_.control =
        base::WriteRule<std::uint16_t>{.writable = control_bit::writable, .write_1_to_clear = 0}
            .apply(state_.control, value);
    if (control_bit::sleep_enable.of(value)) {
        request_sleep(static_cast<std::uint8_t>(control_bit::sleep_type.of(value)));
    }
}

void AcpiPm::request_sleep(std::uint8_t type) {
    switch (type) {
        case sleep_type_s3:
            requests_.suspend_to_ram();
            return;
        case sleep_type_s5:
            requests_.power_off();
            return;
        default:
            unknown_sleep_type_.report(type);
    }
}

std::string_view AcpiPm::register_name(std::uint64_t offset) const {
    if (offset < offset_enable) {
        return "PM1_STS";
    }
    if (offset < offset_control) {
        return "PM1_EN";
    }
    if (offset < offset_reserved) {
        return "PM1_CNT";
    }
    if (offset < offset_timer) {
        return "";
    }
    if (offset < offset_general_status) {
        return "PM_TMR";
    }
    return offset == offset_general_status ? "GPE0_STS" : "GPE0_EN";
}

void AcpiPm::SmiCommand::write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t value) {
    State& state = pm_.state_;
    state.smi_command = static_cast<std::uint8_t>(value);
    if (state.smi_command == smi_acpi_enable) {
        state.control = control_bit::sci_enable.set(state.control);
    } else if (state.smi_command == smi_acpi_disable) {
        state.control = control_bit::sci_enable.clear(state.control);
    }
    pm_.collect_carry();
    pm_.arm_timer();
    pm_.update_irq();
}

void AcpiPm::raise_status(std::uint16_t bits) {
    state_.status |= bits;
    update_irq();
}

void AcpiPm::press_power_button() {
    raise_status(event_bit::power_button.mask);
}

void AcpiPm::press_sleep_button() {
    raise_status(event_bit::sleep_button.mask);
}

void AcpiPm::rtc_alarm() {
    raise_status(event_bit::rtc.mask);
}

void AcpiPm::raise_general_event(unsigned number) {
    CUPULE_ASSERT(number < general_events);
    state_.general_status |= static_cast<std::uint8_t>(1U << number);
    update_irq();
}

std::optional<WakeSource> AcpiPm::pending_wake() const {
    const auto events = static_cast<std::uint16_t>(state_.status & state_.enable);
    if (event_bit::power_button.of(events)) {
        return WakeSource::power_button;
    }
    if (event_bit::sleep_button.of(events)) {
        return WakeSource::sleep_button;
    }
    return event_bit::rtc.of(events) ? std::optional(WakeSource::rtc) : std::nullopt;
}

void AcpiPm::wake(WakeSource source) {
    std::uint16_t bits = event_bit::wake.mask;
    switch (source) {
        case WakeSource::power_button:
            bits |= event_bit::power_button.mask;
            break;
        case WakeSource::sleep_button:
            bits |= event_bit::sleep_button.mask;
            break;
        case WakeSource::rtc:
            bits |= event_bit::rtc.mask;
            break;
        case WakeSource::other:
            break;
    }
    raise_status(bits);
}

/// Sets TMR_STS when the timer's top bit has changed since the last call.
void AcpiPm::collect_carry() {
    const std::uint64_t carries = ticks() / carry_ticks();
    if (carries != state_.carries_seen) {
        state_.carries_seen = carries;
        state_.status = event_bit::timer.set(state_.status);
    }
}

/// Waits for the next carry only while it would raise the SCI.
void AcpiPm::arm_timer() {
    const bool wanted = control_bit::sci_enable.of(state_.control) &&
                        event_bit::timer.of(state_.enable) && !event_bit::timer.of(state_.status);
    if (!wanted) {
        timer_->stop();
        return;
    }
    const std::uint64_t next = (state_.carries_seen + 1) * carry_ticks();
    timer_->start_at(
        base::wrapping_add(state_.timer_base_ns, event::ticks_to_ns(next, timer_frequency_hz)));
}

void AcpiPm::update_irq() {
    const bool fixed = (state_.status & state_.enable & event_bit::can_interrupt) != 0;
    const bool general = (state_.general_status & state_.general_enable) != 0;
    sci_.set_level(control_bit::sci_enable.of(state_.control) && (fixed || general));
}

void AcpiPm::reset() {
    power_on();
    arm_timer();
    update_irq();
}

void AcpiPm::visit(snapshot::Visitor& visitor) {
    collect_carry();
    std::uint64_t timer_ns = base::wrapping_sub(clock_.now_ns(), state_.timer_base_ns);
    visitor.field("status", state_.status);
    visitor.field("enable", state_.enable);
    visitor.field("control", state_.control);
    visitor.field("general_status", state_.general_status);
    visitor.field("general_enable", state_.general_enable);
    visitor.field("smi_command", state_.smi_command);
    visitor.field("timer_ns", timer_ns);
    if (visitor.restoring()) {
        state_.status &= status_rule.write_1_to_clear;
        state_.enable &= enable_rule.writable;
        state_.control &= control_bit::stored;
        state_.timer_base_ns = base::wrapping_sub(clock_.now_ns(), timer_ns & base::mask(60));
        state_.carries_seen = ticks() / carry_ticks();
    }
    arm_timer();
    update_irq();
}

}  // namespace cupule::device
