#include "runtime/pic.h"

#include "runtime/apic.h"
#include "runtime/cpu.h"

namespace cupule::guest {
namespace {

constexpr std::uint16_t master = 0x20;
constexpr std::uint16_t slave = 0xA0;

std::uint16_t read_both(std::uint8_t command) {
    out8(master, command);
    out8(slave, command);
    return static_cast<std::uint16_t>(in8(master) | (in8(slave) << 8));
}

}  // namespace

void pic_init() {
    pic_connect(false);
    out8(master, 0x11);  // ICW1: ICW4 follows, cascade, edge
    out8(slave, 0x11);
    out8(master + 1, pic_vector_base);
    out8(slave + 1, pic_vector_base + 8);
    out8(master + 1, 1 << 2);
    out8(slave + 1, 2);
    out8(master + 1, 1);  // ICW4: 8086 mode
    out8(slave + 1, 1);
    pic_unmask_only(0);
}

void pic_connect(bool on) {
    local_apic_write(LocalApic::lvt_lint0, lvt_ext_int | (on ? 0 : lvt_masked));
}

void pic_unmask_only(std::uint16_t irqs) {
    const auto with_cascade = static_cast<std::uint16_t>(irqs | ((irqs & 0xFF00) != 0 ? 4 : 0));
    const auto mask = static_cast<std::uint16_t>(~with_cascade);
    out8(master + 1, static_cast<std::uint8_t>(mask));
    out8(slave + 1, static_cast<std::uint8_t>(mask >> 8));
}

void pic_end_of_interrupt(std::uint8_t irq) {
    if (irq >= 8) {
        out8(slave, 0x20);
    }
    out8(master, 0x20);
}

std::uint16_t pic_requests() {
    return read_both(0x0A);
}
std::uint16_t pic_in_service() {
    return read_both(0x0B);
}
std::uint16_t pic_mask() {
    return static_cast<std::uint16_t>(in8(master + 1) | (in8(slave + 1) << 8));
}

}  // namespace cupule::guest
