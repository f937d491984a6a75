/// i8042: self test, and bytes that look as if keyboard and mouse had sent them.
///
/// Document: IBM PS/2 Hardware Interface Technical Reference, keyboard and auxiliary controller.
#include "interrupts/interrupts.h"
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"
#include "runtime/pic.h"

namespace cupule::guest {
namespace {

constexpr std::uint16_t data_port = 0x60;
constexpr std::uint16_t command_port = 0x64;
constexpr std::uint8_t output_full = 0x01;
constexpr std::uint8_t input_full = 0x02;
constexpr std::uint8_t from_auxiliary = 0x20;

struct Seen {
    std::uint8_t status = 0;
    std::uint8_t data = 0;
};
constinit Seen seen;

void on_data(Frame&) {
    seen.status = in8(command_port);
    seen.data = in8(data_port);
}

void wait_writable() {
    wait_until(100, [] { return (in8(command_port) & input_full) == 0; });
}

void command(std::uint8_t value) {
    wait_writable();
    out8(command_port, value);
}

void write_data(std::uint8_t value) {
    wait_writable();
    out8(data_port, value);
}

bool read_data(std::uint8_t& value) {
    if (!wait_until(100, [] { return (in8(command_port) & output_full) != 0; })) {
        return false;
    }
    value = in8(data_port);
    return true;
}

void drain() {
    for (int i = 0; i < 64 && (in8(command_port) & output_full) != 0; ++i) {
        (void)in8(data_port);
    }
}

bool loops(std::uint8_t vector, std::uint8_t loop_command, std::uint8_t value) {
    seen = {};
    const std::uint32_t before = interrupt_count(vector);
    command(loop_command);
    write_data(value);
    interrupts_on();
    wait_until(200, [=] { return interrupt_count(vector) != before; });
    wait_ms(2);
    interrupts_off();
    return interrupt_count(vector) == before + 1 && seen.data == value;
}

void check_routes() {
    expect(pic_vector_base + 1, EndOfInterrupt::pic, on_data);
    expect(pic_vector_base + 12, EndOfInterrupt::pic, on_data);
    pic_init();
    pic_unmask_only((1 << 1) | (1 << 12));
    pic_connect(true);
    check("keyboard_byte_is_irq_1", loops(pic_vector_base + 1, 0xD2, 0x1C), "data ", Hex{seen.data},
          " status ", Hex{seen.status});
    check("keyboard_byte_is_not_auxiliary",
          (seen.status & (output_full | from_auxiliary)) == output_full, Hex{seen.status});
    check("mouse_byte_is_irq_12", loops(pic_vector_base + 12, 0xD3, 0x5A), "data ", Hex{seen.data},
          " status ", Hex{seen.status});
    check("mouse_byte_is_auxiliary", (seen.status & from_auxiliary) != 0, Hex{seen.status});
    pic_unmask_only(0);
    pic_connect(false);

    expect(io_apic_vector, EndOfInterrupt::local_apic, on_data);
    const std::uint32_t pin = isa_route(1).pin;
    io_apic_route(pin, io_apic_vector, 0);
    check("keyboard_byte_by_io_apic", loops(io_apic_vector, 0xD2, 0x2E), Hex{seen.data});
    io_apic_mask(pin);
}

}  // namespace

void check_keyboard() {
    if ((fadt().boot_architecture & 2) == 0 && in8(command_port) == 0xFF) {
        skip("i8042", "not there");
        return;
    }
    command(0xAD);
    command(0xA7);
    drain();
    std::uint8_t value = 0;
    command(0xAA);
    check("i8042_self_test", read_data(value) && value == 0x55, Hex{value});
    command(0x60);
    write_data(0x47);  // translate, system flag, both interrupts, both ports on
    command(0x20);
    check("i8042_command_byte_reads_back", read_data(value) && value == 0x47, Hex{value});
    drain();
    check_routes();
    command(0x60);
    write_data(0x74);  // interrupts and ports off
    drain();
}

}  // namespace cupule::guest
