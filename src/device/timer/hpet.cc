#include "device/timer/hpet.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/bits.h"
#include "base/field.h"

namespace cupule::device {
namespace {

using base::Bit;
using base::Field;

constexpr std::uint64_t offset_capabilities = 0x000;
constexpr std::uint64_t offset_config = 0x010;
constexpr std::uint64_t offset_interrupts = 0x020;
constexpr std::uint64_t offset_counter = 0x0F0;
constexpr std::uint64_t offset_comparators = 0x100;
constexpr std::uint64_t comparator_stride = 0x20;
constexpr std::uint64_t offset_comparator_config = 0x00;
constexpr std::uint64_t offset_comparator_value = 0x08;
constexpr std::uint64_t offset_comparator_fsb = 0x10;

constexpr std::uint64_t femtoseconds_per_ns = 1'000'000;
static_assert(Hpet::tick_ns * femtoseconds_per_ns == 0x05F5'E100, "the longest period allowed");

constexpr Bit<std::uint8_t, 0> config_enable{};  // ENABLE_CNF
constexpr Bit<std::uint8_t, 1> config_legacy{};  // LEG_RT_CNF
constexpr std::uint8_t config_writable = config_enable.mask | config_legacy.mask;

namespace timer_config {
constexpr Bit<std::uint32_t, 1> level{};             // Tn_INT_TYPE_CNF
constexpr Bit<std::uint32_t, 2> interrupt_enable{};  // Tn_INT_ENB_CNF
constexpr Bit<std::uint32_t, 3> periodic{};          // Tn_TYPE_CNF
constexpr Bit<std::uint32_t, 4> can_be_periodic{};   // Tn_PER_INT_CAP
constexpr Bit<std::uint32_t, 5> has_64_bits{};       // Tn_SIZE_CAP
constexpr Bit<std::uint32_t, 6> value_set{};         // Tn_VAL_SET_CNF
constexpr Bit<std::uint32_t, 8> use_32_bits{};       // Tn_32MODE_CNF
constexpr Field<std::uint32_t, 13, 9> route{};       // Tn_INT_ROUTE_CNF
constexpr Bit<std::uint32_t, 14> fsb_enable{};       // Tn_FSB_EN_CNF
constexpr Bit<std::uint32_t, 15> fsb_capable{};      // Tn_FSB_INT_DEL_CAP
constexpr std::uint32_t writable = level.mask | interrupt_enable.mask | periodic.mask |
                                   value_set.mask | use_32_bits.mask | route.mask | fsb_enable.mask;
constexpr std::uint32_t capabilities = can_be_periodic.mask | has_64_bits.mask | fsb_capable.mask;
}  // namespace timer_config

/// Longer waits than this many ticks (about 230 years) are none.
constexpr std::uint64_t wait_ticks_max = base::mask(56);
constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

std::uint64_t value_mask(std::uint32_t config) {
    return timer_config::use_32_bits.of(config) ? base::mask(32) : base::mask(64);
}

/// Ticks from `counter` to the next time its low bits equal the comparator; a value it has now
/// comes again after a whole round.
std::uint64_t ticks_to_match(std::uint32_t config, std::uint64_t value, std::uint64_t counter) {
    const std::uint64_t mask = value_mask(config);
    const std::uint64_t distance = base::wrapping_sub(value, counter) & mask;
    if (distance != 0) {
        return distance;
    }
    return mask == base::mask(64) ? never : mask + 1;
}

std::uint32_t offered_routes(const HpetOutputs& outputs) {
    std::uint32_t routes = 0;
    for (unsigned gsi = 0; gsi < outputs.gsi.size(); ++gsi) {
        const HpetOutput& output = outputs.gsi[gsi];
        routes |= output.edge != nullptr && output.level != nullptr ? 1U << gsi : 0;
    }
    return routes;
}

}  // namespace

Hpet::Hpet(const HpetOutputs& outputs, irq::MessageSink& messages, LegacyReplacement& legacy,
           const event::Clock& clock, event::TimerService& timers)
    : outputs_(outputs),
      route_mask_(offered_routes(outputs)),
      messages_(messages),
      legacy_(legacy),
      clock_(clock),
      timer_(timers.make_timer([this] {
          collect_matches();
          arm_timer();
          update_irq();
      })) {}

bool Hpet::enabled() const {
    return config_enable.of(state_.config);
}

bool Hpet::legacy_replacement() const {
    return config_legacy.of(state_.config);
}

std::uint64_t Hpet::read(std::uint64_t offset, unsigned size) {
    collect_matches();
    update_irq();
    const auto lane = static_cast<unsigned>(offset % 8);
    const unsigned first = std::min(size, 8 - lane);
    std::uint64_t value = base::read_lane(read_register(offset - lane), lane, first);
    if (first < size) {
        const std::uint64_t next = read_register(offset - lane + 8);
        value |= base::read_lane(next, 0, size - first) << (8 * first);
    }
    return value;
}

void Hpet::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    collect_matches();
    const auto lane = static_cast<unsigned>(offset % 8);
    const unsigned first = std::min(size, 8 - lane);
    write_register(offset - lane, lane, first, value & base::ones(first));
    if (first < size) {
        write_register(offset - lane + 8, 0, size - first, value >> (8 * first));
    }
    arm_timer();
    update_irq();
}

std::string_view Hpet::register_name(std::uint64_t offset) const {
    if (offset >= offset_comparators) {
        switch (offset % comparator_stride & ~std::uint64_t{7}) {
            case offset_comparator_config:
                return "Tn_CONF";
            case offset_comparator_value:
                return "Tn_COMP";
            case offset_comparator_fsb:
                return "Tn_FSB_ROUTE";
            default:
                return {};
        }
    }
    switch (offset & ~std::uint64_t{7}) {
        case offset_capabilities:
            return "GCAP_ID";
        case offset_config:
            return "GEN_CONF";
        case offset_interrupts:
            return "GINTR_STA";
        case offset_counter:
            return "MAIN_CNT";
        default:
            return {};
    }
}

std::uint64_t Hpet::read_register(std::uint64_t offset) const {
    if (offset >= offset_comparators) {
        const std::uint64_t index = (offset - offset_comparators) / comparator_stride;
        return index < comparator_count
                   ? read_comparator(state_.comparators[index], offset % comparator_stride)
                   : 0;
    }
    switch (offset) {
        case offset_capabilities:
            return tick_ns * femtoseconds_per_ns << 32 | block_id;
        case offset_config:
            return state_.config;
        case offset_interrupts:
            return state_.interrupts;
        case offset_counter:
            return state_.counter;
        default:
            return 0;
    }
}

std::uint64_t Hpet::read_comparator(const Comparator& comparator, std::uint64_t offset) const {
    switch (offset) {
        case offset_comparator_config:
            return std::uint64_t{route_mask_} << 32 | timer_config::capabilities |
                   timer_config::value_set.clear(comparator.config);
        case offset_comparator_value:
            return comparator.value;
        case offset_comparator_fsb:
            return comparator.fsb_route;
        default:
            return 0;
    }
}

void Hpet::write_register(std::uint64_t offset, unsigned lane, unsigned size, std::uint64_t value) {
    if (offset >= offset_comparators) {
        const std::uint64_t index = (offset - offset_comparators) / comparator_stride;
        if (index < comparator_count) {
            write_comparator(static_cast<unsigned>(index), offset % comparator_stride, lane, size,
                             value);
        }
        return;
    }
    switch (offset) {
        case offset_config:
            write_config(base::write_lane(state_.config, lane, size, value));
            return;
        case offset_interrupts:
            state_.interrupts &= ~base::write_lane<std::uint32_t>(0, lane, size, value);
            return;
        case offset_counter:
            write_counter(lane, size, value);
            return;
        default:
            return;
    }
}

void Hpet::write_config(std::uint8_t value) {
    const bool was_enabled = enabled();
    state_.config = value & config_writable;
    if (enabled() && !was_enabled) {
        state_.counter_ns = clock_.now_ns();
    }
    legacy_.set_legacy_replacement(legacy_replacement());
}

void Hpet::write_counter(unsigned lane, unsigned size, std::uint64_t value) {
    if (enabled()) {
        counter_write_.report(value);
        return;
    }
    state_.counter = base::write_lane(state_.counter, lane, size, value);
}

void Hpet::write_comparator(unsigned index, std::uint64_t offset, unsigned lane, unsigned size,
                            std::uint64_t value) {
    Comparator& comparator = state_.comparators[index];
    switch (offset) {
        case offset_comparator_config:
            write_comparator_config(index, base::write_lane(comparator.config, lane, size, value));
            return;
        case offset_comparator_value:
            write_comparator_value(comparator, lane, size, value);
            return;
        case offset_comparator_fsb:
            comparator.fsb_route = base::write_lane(comparator.fsb_route, lane, size, value);
            return;
        default:
            return;
    }
}

void Hpet::write_comparator_config(unsigned index, std::uint32_t value) {
    Comparator& comparator = state_.comparators[index];
    // "If the value is not supported ... the value read back will not match what was written."
    const std::uint32_t route = timer_config::route.of(value);
    if ((route_mask_ >> route & 1) == 0) {
        value = timer_config::route.with(value, timer_config::route.of(comparator.config));
    }
    comparator.config = value & timer_config::writable;
    comparator.value &= value_mask(comparator.config);
    comparator.period &= value_mask(comparator.config);
    if (!timer_config::level.of(comparator.config)) {
        state_.interrupts &= ~(1U << index);
    }
}

void Hpet::write_comparator_value(Comparator& comparator, unsigned lane, unsigned size,
                                  std::uint64_t value) {
    const std::uint64_t mask = value_mask(comparator.config);
    // A periodic comparator keeps its next match unless the write is announced by VAL_SET, which
    // each write uses up; the period is what was written last, always.
    if (!timer_config::periodic.of(comparator.config) ||
        timer_config::value_set.of(comparator.config)) {
        comparator.value = base::write_lane(comparator.value, lane, size, value) & mask;
    }
    comparator.period = base::write_lane(comparator.period, lane, size, value) & mask;
    comparator.config = timer_config::value_set.clear(comparator.config);
}

/// Moves the counter on to now and handles the matches on the way.
void Hpet::collect_matches() {
    if (!enabled()) {
        return;
    }
    const std::uint64_t ticks = (clock_.now_ns() - state_.counter_ns) / tick_ns;
    for (unsigned index = 0; index < comparator_count; ++index) {
        advance(index, ticks);
    }
    state_.counter = base::wrapping_add(state_.counter, ticks);
    state_.counter_ns += ticks * tick_ns;
}

void Hpet::advance(unsigned index, std::uint64_t ticks) {
    Comparator& comparator = state_.comparators[index];
    const std::uint64_t distance =
        ticks_to_match(comparator.config, comparator.value, state_.counter);
    if (ticks < distance) {
        return;
    }
    if (timer_config::periodic.of(comparator.config) && comparator.period != 0) {
        const std::uint64_t further = (ticks - distance) / comparator.period;
        comparator.value =
            (comparator.value + (further + 1) * comparator.period) & value_mask(comparator.config);
        lost_interrupts_ += timer_config::interrupt_enable.of(comparator.config) ? further : 0;
    }
    interrupt(index);
}

/// A match: sets the status of a level comparator, sends an edge or a message at once.
void Hpet::interrupt(unsigned index) {
    Comparator& comparator = state_.comparators[index];
    const std::uint32_t config = comparator.config;
    comparator.last_interrupt_ns = clock_.now_ns();
    if (timer_config::level.of(config)) {
        state_.interrupts |= 1U << index;
    }
    if (!timer_config::interrupt_enable.of(config)) {
        return;
    }
    if (timer_config::fsb_enable.of(config)) {
        messages_.send({.address = comparator.fsb_route >> 32,
                        .data = static_cast<std::uint32_t>(comparator.fsb_route)});
        return;
    }
    irq::EdgeLine* line = output(output_number(index)).edge;
    if (!timer_config::level.of(config) && line != nullptr) {
        line->pulse();
    }
}

/// Which output a comparator drives: a GSI, or one of the legacy outputs after them.
unsigned Hpet::output_number(unsigned index) const {
    if (legacy_replacement() && index < outputs_.legacy.size()) {
        return static_cast<unsigned>(outputs_.gsi.size()) + index;
    }
    return timer_config::route.of(state_.comparators[index].config);
}

const HpetOutput& Hpet::output(unsigned number) const {
    return number < outputs_.gsi.size() ? outputs_.gsi[number]
                                        : outputs_.legacy[number - outputs_.gsi.size()];
}

bool Hpet::drives_level(unsigned index) const {
    const std::uint32_t config = state_.comparators[index].config;
    return (state_.interrupts >> index & 1) != 0 && timer_config::level.of(config) &&
           timer_config::interrupt_enable.of(config) && !timer_config::fsb_enable.of(config);
}

/// When the host must look at a comparator next; `never` when that could interrupt nobody.
std::uint64_t Hpet::deadline_of(unsigned index) const {
    const Comparator& comparator = state_.comparators[index];
    const bool can_interrupt =
        timer_config::interrupt_enable.of(comparator.config) && !drives_level(index);
    const std::uint64_t ticks = ticks_to_match(comparator.config, comparator.value, state_.counter);
    if (!can_interrupt || ticks > wait_ticks_max) {
        return never;
    }
    const std::uint64_t match_ns = state_.counter_ns + ticks * tick_ns;
    return timer_config::periodic.of(comparator.config)
               ? std::max(match_ns, comparator.last_interrupt_ns + interrupt_interval_min_ns)
               : match_ns;
}

void Hpet::arm_timer() {
    std::uint64_t deadline_ns = never;
    for (unsigned index = 0; enabled() && index < comparator_count; ++index) {
        deadline_ns = std::min(deadline_ns, deadline_of(index));
    }
    if (deadline_ns == never) {
        timer_->stop();
    } else {
        timer_->start_at(deadline_ns);
    }
}

void Hpet::update_irq() {
    std::uint64_t wanted = 0;
    for (unsigned index = 0; index < comparator_count; ++index) {
        wanted |= drives_level(index) ? base::bit(output_number(index)) : 0;
    }
    // The counter is read often: lines are touched only where they change.
    for (std::uint64_t changed = wanted ^ driven_; changed != 0; changed &= changed - 1) {
        const auto number = static_cast<unsigned>(std::countr_zero(changed));
        irq::LevelLine* line = output(number).level;
        if (line != nullptr) {
            line->set_level((wanted >> number & 1) != 0);
        }
    }
    driven_ = wanted;
}

void Hpet::reset() {
    state_ = State{};
    lost_interrupts_ = 0;
    legacy_.set_legacy_replacement(false);
    arm_timer();
    update_irq();
}

void Hpet::visit(snapshot::Visitor& visitor) {
    collect_matches();
    std::uint64_t phase_ns = enabled() ? clock_.now_ns() - state_.counter_ns : 0;
    visitor.field("config", state_.config);
    visitor.field("interrupts", state_.interrupts);
    visitor.field("counter", state_.counter);
    visitor.field("phase_ns", phase_ns);
    for (unsigned index = 0; index < comparator_count; ++index) {
        Comparator& comparator = state_.comparators[index];
        constexpr std::array<std::string_view, comparator_count> names = {
            "timer0", "timer1", "timer2", "timer3", "timer4", "timer5", "timer6", "timer7"};
        visitor.begin(names[index]);
        visitor.field("config", comparator.config);
        visitor.field("value", comparator.value);
        visitor.field("period", comparator.period);
        visitor.field("fsb_route", comparator.fsb_route);
        visitor.end();
        if (visitor.restoring()) {
            sanitise(index);
        }
    }
    if (visitor.restoring()) {
        state_.config &= config_writable;
        state_.interrupts &= static_cast<std::uint32_t>(base::mask(comparator_count));
        state_.counter_ns = clock_.now_ns() - phase_ns % tick_ns;
        legacy_.set_legacy_replacement(legacy_replacement());
    }
    arm_timer();
    update_irq();
}

void Hpet::sanitise(unsigned index) {
    Comparator& comparator = state_.comparators[index];
    comparator.config &= timer_config::writable;
    comparator.value &= value_mask(comparator.config);
    comparator.period &= value_mask(comparator.config);
    comparator.last_interrupt_ns = 0;
    if ((route_mask_ >> timer_config::route.of(comparator.config) & 1) == 0) {
        comparator.config = timer_config::route.with(comparator.config, 0);
    }
    if (!timer_config::level.of(comparator.config)) {
        state_.interrupts &= ~(1U << index);
    }
}

}  // namespace cupule::device
