#include "device/serial/uart_16550.h"

#include <algorithm>
#include <span>

#include "base/bits.h"

namespace cupule::device {

using namespace uart_16550;

namespace {

/// Receiver trigger levels by FCR7:6 (8.5).
constexpr std::array<std::uint8_t, 4> trigger_levels = {1, 4, 8, 14};

/// What a cable to something that is switched on shows.
constexpr std::uint8_t inputs_on = modem_status::clear_to_send.make(true) |
                                   modem_status::data_set_ready.make(true) |
                                   modem_status::carrier.make(true);

}  // namespace

Uart16550::Uart16550(irq::LevelLine& line, backend::ByteChannel& channel)
    : line_(line), channel_(channel) {
    channel_.set_events(this);
}

Uart16550::~Uart16550() {
    channel_.set_events(nullptr);
}

std::uint64_t Uart16550::read(std::uint64_t offset, unsigned size) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        value |= static_cast<std::uint64_t>(read_register(offset + i)) << (i * 8);
    }
    return value;
}

void Uart16550::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    for (unsigned i = 0; i < size; ++i) {
        write_register(offset + i, static_cast<std::uint8_t>(value >> (i * 8)));
    }
}

std::uint8_t Uart16550::read_register(std::uint64_t offset) {
    switch (offset) {
        case data_offset:
            return latch_open() ? state_.divisor_low : read_data();
        case interrupt_enable_offset:
            return latch_open() ? state_.divisor_high : state_.interrupt_enable;
        case interrupt_id_offset:
            return read_interrupt_id();
        case line_control_offset:
            return state_.line_control;
        case modem_control_offset:
            return state_.modem_control;
        case line_status_offset:
            return read_line_status();
        case modem_status_offset:
            return read_modem_status();
        case scratch_offset:
            return state_.scratch;
        default:
            return 0xFF;
    }
}

void Uart16550::write_register(std::uint64_t offset, std::uint8_t value) {
    switch (offset) {
        case data_offset:
            if (latch_open()) {
                state_.divisor_low = value;
            } else {
                write_data(value);
            }
            break;
        case interrupt_enable_offset:
            if (latch_open()) {
                state_.divisor_high = value;
            } else {
                write_interrupt_enable(value);
            }
            break;
        case interrupt_id_offset:
            write_fifo_control(value);
            break;
        case line_control_offset:
            state_.line_control = value;
            break;
        case modem_control_offset:
            write_modem_control(value);
            break;
        case scratch_offset:
            state_.scratch = value;
            break;
        default:  // LSR and MSR: writing is for factory tests (8.4, 8.8).
            break;
    }
}

std::string_view Uart16550::register_name(std::uint64_t offset) const {
    constexpr std::array<std::string_view, register_count> names = {
        "RBR/THR/DLL", "IER/DLM", "IIR/FCR", "LCR", "MCR", "LSR", "MSR", "SCR"};
    return offset < names.size() ? names[offset] : std::string_view{};
}

bool Uart16550::latch_open() const {
    return line_control::divisor_latch_access.of(state_.line_control);
}

bool Uart16550::looped() const {
    return modem_control::loopback.of(state_.modem_control);
}

std::uint8_t Uart16550::read_data() {
    const std::uint8_t value = state_.received[0];
    if (state_.received_count > 0) {
        --state_.received_count;
        state_.breaks >>= 1;
        if (state_.received_count > 0) {  // An empty receiver repeats its last byte.
            std::shift_left(state_.received.begin(), state_.received.end(), 1);
        }
        fill_from_channel();
        update_irq();
    }
    return value;
}

std::uint8_t Uart16550::read_interrupt_id() {
    InterruptId id = pending_interrupt();
    if (id == InterruptId::transmitter_empty && state_.empty_reports < empty_reports_max) {
        state_.empty_pending = false;
        ++state_.empty_reports;
    } else if (id == InterruptId::transmitter_empty) {
        id = InterruptId::none;
        line_.set_level(false);  // update_irq raises it again: a new edge for the same cause.
    }
    if (id == InterruptId::none) {
        state_.empty_reports = 0;
    }
    update_irq();
    return static_cast<std::uint8_t>(interrupt_id.make(id) |
                                     fifos_enabled.make(state_.fifos_enabled ? 3 : 0));
}

std::uint8_t Uart16550::read_line_status() {
    const bool break_on_top = (state_.breaks & 1) != 0;
    const bool empty = state_.unsent_count == 0;
    std::uint8_t value = 0;
    value = line_status::data_ready.with(value, state_.received_count > 0);
    value = line_status::overrun.with(value, state_.overrun);
    value = line_status::framing_error.with(value, break_on_top);
    value = line_status::break_interrupt.with(value, break_on_top);
    value = line_status::holding_empty.with(value, empty);
    value = line_status::transmitter_empty.with(value, empty);
    value = line_status::error_in_fifo.with(value, state_.fifos_enabled && state_.breaks != 0);
    if (break_on_top || state_.overrun) {
        state_.overrun = false;
        state_.breaks &= 0xFFFE;
        update_irq();
    }
    return value;
}

std::uint8_t Uart16550::modem_inputs() const {
    if (!looped()) {
        return inputs_on;
    }
    // Loopback joins the outputs to the inputs inside the part (8.7).
    const std::uint8_t outputs = state_.modem_control;
    std::uint8_t inputs = 0;
    inputs = modem_status::clear_to_send.with(inputs, modem_control::request_to_send.of(outputs));
    inputs =
        modem_status::data_set_ready.with(inputs, modem_control::data_terminal_ready.of(outputs));
    inputs = modem_status::ring.with(inputs, modem_control::output_1.of(outputs));
    inputs = modem_status::carrier.with(inputs, modem_control::output_2.of(outputs));
    return inputs;
}

std::uint8_t Uart16550::read_modem_status() {
    const std::uint8_t value = modem_inputs() | state_.modem_changes;
    state_.modem_changes = 0;
    update_irq();
    return value;
}

void Uart16550::write_data(std::uint8_t value) {
    state_.empty_pending = false;
    if (looped()) {
        receive(value, false);
    } else if (state_.unsent_count > 0 || channel_.write({&value, 1}) == 0) {
        // A full transmitter drops what is written, as a driver that ignores THRE deserves.
        if (state_.unsent_count < capacity()) {
            state_.unsent[state_.unsent_count++] = value;
        }
    }
    state_.empty_pending = state_.unsent_count == 0;
    update_irq();
}

void Uart16550::write_interrupt_enable(std::uint8_t value) {
    const bool was_enabled = interrupt_enable::transmitter_empty.of(state_.interrupt_enable);
    state_.interrupt_enable = value & interrupt_enable::writable;
    const bool enabled = interrupt_enable::transmitter_empty.of(state_.interrupt_enable);
    if (enabled && !was_enabled && state_.unsent_count == 0) {
        state_.empty_pending = true;  // Enabling with an empty transmitter interrupts at once.
    }
    update_irq();
}

void Uart16550::write_fifo_control(std::uint8_t value) {
    const bool enable = fifo_control::enable.of(value);
    const bool mode_changes = enable != state_.fifos_enabled;
    state_.fifos_enabled = enable;
    // The other bits count only together with the enable bit (8.5).
    if (mode_changes || (enable && fifo_control::reset_receiver.of(value))) {
        clear_receiver();
    }
    if (mode_changes || (enable && fifo_control::reset_sender.of(value))) {
        clear_sender();
    }
    state_.trigger = enable ? fifo_control::trigger.of(value) : 0;
    fill_from_channel();
    update_irq();
}

void Uart16550::write_modem_control(std::uint8_t value) {
    const std::uint8_t old_inputs = modem_inputs();
    state_.modem_control = value & modem_control::writable;
    const std::uint8_t inputs = modem_inputs();
    std::uint8_t changes = modem_status::changes.make((old_inputs ^ inputs) >> 4);
    // The ring indicator counts only when it ends.
    if (modem_status::ring.of(inputs)) {
        changes = modem_status::ring_ended.clear(changes);
    }
    state_.modem_changes |= changes;
    fill_from_channel();
    update_irq();
}

void Uart16550::receive(std::uint8_t value, bool is_break) {
    if (state_.received_count < capacity()) {
        state_.breaks |= static_cast<std::uint16_t>((is_break ? 1U : 0U) << state_.received_count);
        state_.received[state_.received_count++] = value;
        return;
    }
    state_.overrun = true;
    // Without FIFOs the new byte destroys the old one; with them it is the one that is lost (8.4).
    if (!state_.fifos_enabled) {
        state_.received[0] = value;
        state_.breaks = is_break ? 1 : 0;
    }
}

void Uart16550::fill_from_channel() {
    if (looped() || state_.received_count >= capacity()) {
        return;
    }
    const auto room = std::span(state_.received).first(capacity()).subspan(state_.received_count);
    const std::size_t count = std::min(channel_.read(room), room.size());
    state_.received_count = static_cast<std::uint8_t>(state_.received_count + count);
}

void Uart16550::readable() {
    fill_from_channel();
    update_irq();
}

void Uart16550::writable() {
    send_unsent();
    update_irq();
}

void Uart16550::break_received() {
    if (!looped()) {
        receive(0, true);
        update_irq();
    }
}

void Uart16550::send_unsent() {
    if (state_.unsent_count == 0) {
        return;
    }
    const auto waiting = std::span(state_.unsent).first(state_.unsent_count);
    const std::size_t count = std::min(channel_.write(waiting), waiting.size());
    std::shift_left(waiting.begin(), waiting.end(), static_cast<std::ptrdiff_t>(count));
    state_.unsent_count = static_cast<std::uint8_t>(state_.unsent_count - count);
    state_.empty_pending = state_.empty_pending || state_.unsent_count == 0;
}

void Uart16550::clear_receiver() {
    state_.received_count = 0;
    state_.breaks = 0;
}

void Uart16550::clear_sender() {
    if (state_.unsent_count > 0) {
        state_.unsent_count = 0;
        state_.empty_pending = true;
    }
}

InterruptId Uart16550::pending_interrupt() const {
    const std::uint8_t enabled = state_.interrupt_enable;
    if (interrupt_enable::line_status.of(enabled) && (state_.overrun || (state_.breaks & 1) != 0)) {
        return InterruptId::line_status;
    }
    if (interrupt_enable::received_data.of(enabled) && state_.received_count > 0) {
        const unsigned level = state_.fifos_enabled ? trigger_levels[state_.trigger] : 1;
        return state_.received_count >= level ? InterruptId::received_data
                                              : InterruptId::character_timeout;
    }
    if (interrupt_enable::transmitter_empty.of(enabled) && state_.empty_pending) {
        return InterruptId::transmitter_empty;
    }
    if (interrupt_enable::modem_status.of(enabled) && state_.modem_changes != 0) {
        return InterruptId::modem_status;
    }
    return InterruptId::none;
}

void Uart16550::reset() {
    state_ = State{};
    fill_from_channel();
    update_irq();
}

void Uart16550::visit(snapshot::Visitor& visitor) {
    visitor.field("interrupt_enable", state_.interrupt_enable);
    visitor.field("line_control", state_.line_control);
    visitor.field("modem_control", state_.modem_control);
    visitor.field("scratch", state_.scratch);
    visitor.field("divisor_low", state_.divisor_low);
    visitor.field("divisor_high", state_.divisor_high);
    visitor.field("fifos_enabled", state_.fifos_enabled);
    visitor.field("trigger", state_.trigger);
    visitor.field("overrun", state_.overrun);
    visitor.field("empty_pending", state_.empty_pending);
    visitor.field("empty_reports", state_.empty_reports);
    visitor.field("modem_changes", state_.modem_changes);
    visitor.field("received", state_.received);
    visitor.field("received_count", state_.received_count);
    visitor.field("breaks", state_.breaks);
    visitor.field("unsent", state_.unsent);
    visitor.field("unsent_count", state_.unsent_count);
    if (visitor.restoring()) {
        sanitise();
        send_unsent();
        fill_from_channel();
        update_irq();
    }
}

void Uart16550::sanitise() {
    state_.interrupt_enable &= interrupt_enable::writable;
    state_.modem_control &= modem_control::writable;
    state_.trigger &= 0x3;
    state_.modem_changes &= 0xF;
    state_.empty_reports = std::min(state_.empty_reports, empty_reports_max);
    const auto limit = static_cast<std::uint8_t>(capacity());
    state_.received_count = std::min(state_.received_count, limit);
    state_.unsent_count = std::min(state_.unsent_count, limit);
    state_.breaks &= static_cast<std::uint16_t>(base::mask(state_.received_count));
}

void Uart16550::update_irq() {
    // On a PC the OUT2 pin opens the driver between the part and its interrupt line.
    line_.set_level(modem_control::output_2.of(state_.modem_control) &&
                    pending_interrupt() != InterruptId::none);
}

}  // namespace cupule::device
