#include "device/timer/rtc_mc146818.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/bits.h"
#include "base/field.h"
#include "device/byte_lanes.h"

namespace cupule::device {
namespace {

using base::Bit;
using base::Field;

constexpr std::uint8_t cell_second = 0x00;
constexpr std::uint8_t cell_second_alarm = 0x01;
constexpr std::uint8_t cell_minute = 0x02;
constexpr std::uint8_t cell_minute_alarm = 0x03;
constexpr std::uint8_t cell_hour = 0x04;
constexpr std::uint8_t cell_hour_alarm = 0x05;
constexpr std::uint8_t cell_weekday = 0x06;
constexpr std::uint8_t cell_day = 0x07;
constexpr std::uint8_t cell_month = 0x08;
constexpr std::uint8_t cell_year = 0x09;
constexpr std::uint8_t cell_register_a = 0x0A;
constexpr std::uint8_t cell_register_b = 0x0B;
constexpr std::uint8_t cell_register_c = 0x0C;
constexpr std::uint8_t cell_register_d = 0x0D;
constexpr std::uint8_t cell_shutdown_status = 0x0F;
constexpr std::uint8_t cell_base_kib = 0x15;
constexpr std::uint8_t cell_extended_kib = 0x17;
constexpr std::uint8_t cell_extended_kib_copy = 0x30;
constexpr std::uint8_t cell_century = 0x32;
constexpr std::uint8_t cell_above_16m = 0x34;
constexpr std::uint8_t cell_above_4g = 0x5B;

constexpr std::uint8_t index_mask = 0x7F;

namespace register_a {
constexpr Field<std::uint8_t, 3, 0> rate{};           // RS3:RS0
constexpr Field<std::uint8_t, 6, 4> divider{};        // DV2:DV0
constexpr Bit<std::uint8_t, 7> update_in_progress{};  // UIP
constexpr std::uint8_t divider_reset_first = 6;       // 11x holds the divider chain in reset
}  // namespace register_a

namespace register_b {
constexpr Bit<std::uint8_t, 1> hours_24{};            // 24/12
constexpr Bit<std::uint8_t, 2> binary{};              // DM
constexpr Bit<std::uint8_t, 3> square_wave{};         // SQWE
constexpr Bit<std::uint8_t, 4> update_interrupt{};    // UIE
constexpr Bit<std::uint8_t, 5> alarm_interrupt{};     // AIE
constexpr Bit<std::uint8_t, 6> periodic_interrupt{};  // PIE
constexpr Bit<std::uint8_t, 7> set{};                 // SET
}  // namespace register_b

namespace register_c {
constexpr Bit<std::uint8_t, 4> update{};    // UF
constexpr Bit<std::uint8_t, 5> alarm{};     // AF
constexpr Bit<std::uint8_t, 6> periodic{};  // PF
constexpr Bit<std::uint8_t, 7> request{};   // IRQF
constexpr std::uint8_t flags = 0x70;        // enables stand at the same places in register B
}  // namespace register_c

constexpr std::uint8_t register_d_valid_ram = 0x80;  // VRT

constexpr std::uint8_t hour_pm = 0x80;
constexpr std::uint8_t alarm_any = 0xC0;  // both top bits: matches every value

constexpr std::int64_t second_ns = static_cast<std::int64_t>(event::ns_per_s);
constexpr std::int64_t update_warning_ns = 244'000;  // t_BUC
constexpr std::int64_t divider_release_ns = second_ns / 2;
constexpr std::uint64_t crystal_hz = 32'768;
constexpr std::int64_t day_s = 86'400;
/// The host's wall clock may be set while an alarm is waited for: look again this often.
constexpr std::int64_t alarm_look_again_ns = 60 * second_ns;
/// The guest's time stays within 1897 and 2201, whatever a snapshot says: no sum overflows there.
constexpr std::int64_t guest_ns_min = -2'300'000'000 * second_ns;
constexpr std::int64_t guest_ns_max = 7'300'000'000 * second_ns;

constexpr std::int64_t floor_divide(std::int64_t value, std::int64_t by) {
    return value / by - (value % by < 0 ? 1 : 0);
}

constexpr std::int64_t floor_modulo(std::int64_t value, std::int64_t by) {
    return value - floor_divide(value, by) * by;
}

bool is_time_cell(std::uint8_t cell) {
    switch (cell) {
        case cell_second:
        case cell_minute:
        case cell_hour:
        case cell_weekday:
        case cell_day:
        case cell_month:
        case cell_year:
        case cell_century:
            return true;
        default:
            return false;
    }
}

template <std::size_t N>
void put_little_endian(std::array<std::uint8_t, N>& cells, std::size_t at, std::size_t bytes,
                       std::uint64_t value) {
    value = std::min(value, base::mask(static_cast<unsigned>(bytes) * 8));
    for (std::size_t i = 0; i < bytes; ++i) {
        cells[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
}

std::uint64_t size_above(std::uint64_t size, std::uint64_t start) {
    return size > start ? size - start : 0;
}

}  // namespace

RtcMc146818::RtcMc146818(irq::LevelLine& line, const event::Clock& clock,
                         event::TimerService& timers, RamSizes ram)
    : line_(line), clock_(clock), ram_(ram), timer_(timers.make_timer([this] { timer_fired(); })) {
    state_ = power_on_state();
}

RtcMc146818::State RtcMc146818::power_on_state() const {
    constexpr std::uint64_t kib = 1024;
    constexpr std::uint64_t mib = 1024 * kib;
    constexpr std::uint64_t unit = 64 * kib;
    State state;
    state.periodic_base_ns = clock_.now_ns();
    state.update_seen_s = floor_divide(clock_.wall_ns(), second_ns);
    put_little_endian(state.cells, cell_base_kib, 2, std::min(ram_.below_4g, 640 * kib) / kib);
    const std::uint64_t extended_kib = size_above(ram_.below_4g, mib) / kib;
    put_little_endian(state.cells, cell_extended_kib, 2, extended_kib);
    put_little_endian(state.cells, cell_extended_kib_copy, 2, extended_kib);
    put_little_endian(state.cells, cell_above_16m, 2, size_above(ram_.below_4g, 16 * mib) / unit);
    put_little_endian(state.cells, cell_above_4g, 3, ram_.above_4g / unit);
    return state;
}

std::uint64_t RtcMc146818::read(std::uint64_t offset, unsigned size) {
    return read_byte_lanes(offset, size, [this](std::uint64_t port) {
        return port == 0 ? state_.index : read_cell(state_.index & index_mask);
    });
}

void RtcMc146818::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    write_byte_lanes(offset, size, value, [this](std::uint64_t port, std::uint8_t byte) {
        if (port == 0) {
            state_.index = byte;
        } else {
            write_cell(state_.index & index_mask, byte);
        }
    });
}

std::string_view RtcMc146818::register_name(std::uint64_t offset) const {
    return offset == 0 ? "CMOS_INDEX" : "CMOS_DATA";
}

std::uint8_t RtcMc146818::read_cell(std::uint8_t cell) {
    switch (cell) {
        case cell_register_a: {
            const bool soon =
                counting() && floor_modulo(guest_ns(), second_ns) >= second_ns - update_warning_ns;
            return register_a::update_in_progress.with(state_.register_a, soon);
        }
        case cell_register_b:
            return state_.register_b;
        case cell_register_c: {
            collect_flags();
            const bool request = (state_.flags & state_.register_b & register_c::flags) != 0;
            const std::uint8_t value = register_c::request.with(state_.flags, request);
            state_.flags = 0;
            arm_timer();
            update_irq();
            return value;
        }
        case cell_register_d:
            return register_d_valid_ram;
        default:
            if (is_time_cell(cell) && counting()) {
                store_time();
            }
            return state_.cells[cell];
    }
}

void RtcMc146818::write_cell(std::uint8_t cell, std::uint8_t value) {
    switch (cell) {
        case cell_register_a:
            write_control(register_a::update_in_progress.clear(value), state_.register_b);
            return;
        case cell_register_b:
            write_control(state_.register_a, value);
            return;
        case cell_register_c:
        case cell_register_d:
            return;
        default:
            break;
    }
    collect_flags();
    const bool sets_running_time = is_time_cell(cell) && counting();
    if (sets_running_time) {
        store_time();
    }
    state_.cells[cell] = value;
    if (sets_running_time) {
        load_time();
    }
    arm_timer();
    update_irq();
}

void RtcMc146818::write_control(std::uint8_t new_a, std::uint8_t new_b) {
    collect_flags();
    const bool was_counting = counting();
    const bool divider_ran = divider_runs();
    if (was_counting) {
        store_time();
    }
    if (register_b::set.of(new_b)) {
        new_b = register_b::update_interrupt.clear(new_b);
    }
    const bool new_rate = new_a != state_.register_a;
    state_.register_a = new_a;
    state_.register_b = new_b;
    if (new_rate) {
        state_.periodic_base_ns = clock_.now_ns();
        state_.periodic_seen = 0;
    }
    if (!divider_ran && divider_runs()) {
        state_.offset_ns += divider_release_ns - floor_modulo(guest_ns(), second_ns);
    }
    if (!was_counting && counting()) {
        load_time();
    }
    arm_timer();
    update_irq();
}

std::int64_t RtcMc146818::guest_ns() const {
    return clock_.wall_ns() + state_.offset_ns;
}

std::int64_t RtcMc146818::guest_s() const {
    return floor_divide(guest_ns(), second_ns);
}

bool RtcMc146818::divider_runs() const {
    return register_a::divider.of(state_.register_a) < register_a::divider_reset_first;
}

bool RtcMc146818::counting() const {
    return divider_runs() && !register_b::set.of(state_.register_b);
}

std::uint8_t RtcMc146818::encode(unsigned value) const {
    if (register_b::binary.of(state_.register_b)) {
        return static_cast<std::uint8_t>(value);
    }
    return static_cast<std::uint8_t>((value / 10) << 4 | value % 10);
}

unsigned RtcMc146818::decode(std::uint8_t raw) const {
    return register_b::binary.of(state_.register_b) ? raw : (raw >> 4) * 10U + (raw & 0xFU);
}

std::uint8_t RtcMc146818::encode_hour(unsigned hour) const {
    if (register_b::hours_24.of(state_.register_b)) {
        return encode(hour);
    }
    const unsigned shown = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<std::uint8_t>(encode(shown) | (hour >= 12 ? hour_pm : 0));
}

unsigned RtcMc146818::decode_hour(std::uint8_t raw) const {
    if (register_b::hours_24.of(state_.register_b)) {
        return decode(raw);
    }
    const unsigned shown = decode(static_cast<std::uint8_t>(raw & ~hour_pm));
    return shown > 12 ? 24 : shown % 12 + ((raw & hour_pm) != 0 ? 12 : 0);
}

/// Writes the running time into the cells, in the guest's format.
void RtcMc146818::store_time() {
    using namespace std::chrono;
    const std::int64_t now_s = guest_s();
    const sys_days date{days{floor_divide(now_s, day_s)}};
    const year_month_day calendar{date};
    const auto in_day = static_cast<unsigned>(floor_modulo(now_s, day_s));
    const auto year = static_cast<unsigned>(static_cast<int>(calendar.year()));
    state_.cells[cell_second] = encode(in_day % 60);
    state_.cells[cell_minute] = encode(in_day / 60 % 60);
    state_.cells[cell_hour] = encode_hour(in_day / 3600);
    state_.cells[cell_weekday] = encode(weekday{date}.c_encoding() + 1);
    state_.cells[cell_day] = encode(static_cast<unsigned>(calendar.day()));
    state_.cells[cell_month] = encode(static_cast<unsigned>(calendar.month()));
    state_.cells[cell_year] = encode(year % 100);
    state_.cells[cell_century] = encode(year / 100);
}

/// Makes the cells the running time. Values out of range, which leave the part undefined, are
/// brought into it; a day past the month's end runs into the next month.
void RtcMc146818::load_time() {
    using namespace std::chrono;
    const unsigned century_raw = decode(state_.cells[cell_century]);
    const unsigned century = century_raw >= 19 && century_raw <= 21 ? century_raw : 20;
    const unsigned year = century * 100 + std::min(decode(state_.cells[cell_year]), 99U);
    const unsigned month = std::clamp(decode(state_.cells[cell_month]), 1U, 12U);
    const unsigned day = std::clamp(decode(state_.cells[cell_day]), 1U, 31U);
    const sys_days first{std::chrono::year{static_cast<int>(year)} / static_cast<int>(month) / 1};
    const std::int64_t days = first.time_since_epoch().count() + static_cast<std::int64_t>(day) - 1;
    const std::int64_t new_s = days * day_s +
                               std::min(decode_hour(state_.cells[cell_hour]), 23U) * 3600 +
                               std::min(decode(state_.cells[cell_minute]), 59U) * 60 +
                               std::min(decode(state_.cells[cell_second]), 59U);
    const std::int64_t before_s = guest_s();
    const std::int64_t delta_s = new_s - before_s;
    const std::int64_t within_second_ns = floor_modulo(guest_ns(), second_ns);
    state_.offset_ns = new_s * second_ns + within_second_ns - clock_.wall_ns();
    state_.update_seen_s = guest_s();
    if (delta_s != 0 && observer_ != nullptr) {
        observer_->rtc_time_set(before_s, delta_s);
    }
}

/// Seconds from `after_s` to the next match of the alarm, 1 to 86400; nothing when its cells can
/// never match.
std::optional<std::uint32_t> RtcMc146818::seconds_to_alarm(std::int64_t after_s) const {
    const auto wanted = [](std::uint8_t raw, unsigned value, unsigned limit) -> std::optional<int> {
        if ((raw & alarm_any) == alarm_any) {
            return -1;
        }
        return value < limit ? std::optional<int>(static_cast<int>(value)) : std::nullopt;
    };
    const std::uint8_t raw_second = state_.cells[cell_second_alarm];
    const std::uint8_t raw_minute = state_.cells[cell_minute_alarm];
    const std::uint8_t raw_hour = state_.cells[cell_hour_alarm];
    const auto second = wanted(raw_second, decode(raw_second), 60);
    const auto minute = wanted(raw_minute, decode(raw_minute), 60);
    const auto hour = wanted(raw_hour, decode_hour(raw_hour), 24);
    if (!second || !minute || !hour) {
        return std::nullopt;
    }
    const auto start = static_cast<std::uint32_t>(floor_modulo(after_s, day_s));
    const auto differs = [](int want, std::uint32_t have) {
        return want >= 0 && static_cast<std::uint32_t>(want) != have;
    };
    // Each step skips a whole hour or minute that cannot match: at most 24 + 60 + 60 steps.
    std::uint32_t at = start + 1;
    for (;;) {
        if (differs(*hour, at / 3600 % 24)) {
            at = (at / 3600 + 1) * 3600;
        } else if (differs(*minute, at / 60 % 60)) {
            at = (at / 60 + 1) * 60;
        } else if (differs(*second, at % 60)) {
            ++at;
        } else {
            return at - start;
        }
    }
}

std::uint64_t RtcMc146818::periodic_hz() const {
    const unsigned rate = register_a::rate.of(state_.register_a);
    if (rate == 0 || !divider_runs()) {
        return 0;
    }
    // Codes 1 and 2 repeat 8 and 9 with the 32.768 kHz time base.
    return crystal_hz >> ((rate <= 2 ? rate + 7 : rate) - 1);
}

std::uint64_t RtcMc146818::periodic_ticks() const {
    return event::ns_to_ticks(clock_.now_ns() - state_.periodic_base_ns, periodic_hz());
}

/// Turns the time that has passed into flags. Nothing else sets them, so they are right whenever
/// this has just run, with or without a timer.
void RtcMc146818::collect_flags() {
    const std::int64_t now_s = guest_s();
    if (counting() && now_s > state_.update_seen_s) {
        state_.flags = register_c::update.set(state_.flags);
        const auto alarm = seconds_to_alarm(state_.update_seen_s);
        if (alarm && state_.update_seen_s + *alarm <= now_s) {
            if (register_b::alarm_interrupt.of(state_.register_b) &&
                !register_c::alarm.of(state_.flags) && observer_ != nullptr) {
                observer_->rtc_alarm();
            }
            state_.flags = register_c::alarm.set(state_.flags);
        }
    }
    state_.update_seen_s = now_s;

    const std::uint64_t ticks = periodic_ticks();
    if (ticks > state_.periodic_seen) {
        const std::uint64_t fresh = register_c::periodic.of(state_.flags) ? 0 : 1;
        if (register_b::periodic_interrupt.of(state_.register_b)) {
            lost_periodic_ += ticks - state_.periodic_seen - fresh;
        }
        state_.flags = register_c::periodic.set(state_.flags);
    }
    state_.periodic_seen = ticks;
}

void RtcMc146818::timer_fired() {
    collect_flags();
    arm_timer();
    update_irq();
}

/// Nanoseconds until the guest's clock shows `second`.
std::int64_t RtcMc146818::ns_to_second(std::int64_t second) const {
    return std::max<std::int64_t>(second * second_ns - guest_ns(), 0);
}

/// Waits for the next event that would raise the line. A flag that is set already cannot rise
/// again, so a guest that does not answer costs the host nothing.
void RtcMc146818::arm_timer() {
    const std::uint8_t wanted =
        state_.register_b & static_cast<std::uint8_t>(~state_.flags) & register_c::flags;
    const std::uint64_t now_ns = clock_.now_ns();
    std::uint64_t deadline_ns = std::numeric_limits<std::uint64_t>::max();
    if (counting() && register_c::update.of(wanted)) {
        deadline_ns = now_ns + static_cast<std::uint64_t>(ns_to_second(state_.update_seen_s + 1));
    }
    if (counting() && register_c::alarm.of(wanted)) {
        if (const auto alarm = seconds_to_alarm(state_.update_seen_s)) {
            const std::int64_t wait_ns =
                std::min(ns_to_second(state_.update_seen_s + *alarm), alarm_look_again_ns);
            deadline_ns = std::min(deadline_ns, now_ns + static_cast<std::uint64_t>(wait_ns));
        }
    }
    if (periodic_hz() != 0 && register_c::periodic.of(wanted)) {
        deadline_ns =
            std::min(deadline_ns, state_.periodic_base_ns +
                                      event::ticks_to_ns(state_.periodic_seen + 1, periodic_hz()));
    }
    if (deadline_ns == std::numeric_limits<std::uint64_t>::max()) {
        timer_->stop();
    } else {
        timer_->start_at(deadline_ns);
    }
}

void RtcMc146818::update_irq() {
    line_.set_level((state_.flags & state_.register_b & register_c::flags) != 0);
}

void RtcMc146818::set_shutdown_status(std::uint8_t status) {
    state_.cells[cell_shutdown_status] = status;
}

std::optional<std::uint64_t> RtcMc146818::next_alarm_ns() const {
    const std::int64_t now_s = guest_s();
    const auto alarm = seconds_to_alarm(now_s);
    if (!counting() || !register_b::alarm_interrupt.of(state_.register_b) || !alarm) {
        return std::nullopt;
    }
    return clock_.now_ns() + static_cast<std::uint64_t>(ns_to_second(now_s + *alarm));
}

void RtcMc146818::reset() {
    state_ = power_on_state();
    lost_periodic_ = 0;
    arm_timer();
    update_irq();
}

void RtcMc146818::reset_pin() {
    collect_flags();
    state_.flags = 0;
    state_.register_b &= static_cast<std::uint8_t>(
        ~(register_b::periodic_interrupt.mask | register_b::alarm_interrupt.mask |
          register_b::update_interrupt.mask | register_b::square_wave.mask));
    arm_timer();
    update_irq();
}

void RtcMc146818::visit(snapshot::Visitor& visitor) {
    collect_flags();
    // Times are saved relative to now: the clock they count on ends with this process.
    std::uint64_t periodic_phase_ns = 0;
    if (periodic_hz() != 0) {
        periodic_phase_ns = clock_.now_ns() - state_.periodic_base_ns -
                            event::ticks_to_ns(state_.periodic_seen, periodic_hz());
    }
    visitor.field("index", state_.index);
    visitor.field("register_a", state_.register_a);
    visitor.field("register_b", state_.register_b);
    visitor.field("flags", state_.flags);
    visitor.field("offset_ns", state_.offset_ns);
    visitor.field("cells", state_.cells);
    visitor.field("periodic_phase_ns", periodic_phase_ns);
    if (!visitor.restoring()) {
        return;
    }
    state_.register_a = register_a::update_in_progress.clear(state_.register_a);
    state_.flags &= register_c::flags;
    const std::int64_t wall_ns = clock_.wall_ns();
    state_.offset_ns = std::clamp(state_.offset_ns, guest_ns_min - wall_ns, guest_ns_max - wall_ns);
    state_.update_seen_s = guest_s();
    state_.periodic_seen = 0;
    state_.periodic_base_ns = clock_.now_ns() - std::min(periodic_phase_ns, event::ns_per_s);
    state_.periodic_seen = periodic_ticks();
    arm_timer();
    update_irq();
}

}  // namespace cupule::device
