#include "runtime/interrupts.h"

#include "runtime/apic.h"
#include "runtime/console.h"
#include "runtime/cpu.h"
#include "runtime/pic.h"

extern "C" {
extern const std::uint8_t interrupt_entries[256][16];
void interrupt_dispatch(cupule::guest::Frame* frame);
}

namespace cupule::guest {
namespace {

struct Gate {
    std::uint16_t offset_low = 0;
    std::uint16_t selector = 0;
    std::uint16_t type = 0;
    std::uint16_t offset_middle = 0;
    std::uint32_t offset_high = 0;
    std::uint32_t reserved = 0;
};

struct Line {
    bool expected = false;
    EndOfInterrupt end = EndOfInterrupt::none;
    Handler handler = nullptr;
    std::uint32_t count = 0;
};

alignas(16) constinit Gate idt[256];
constinit Line lines[256];
constinit std::uint32_t unexpected = 0;
constinit std::uint8_t last_unexpected = 0;

void end_of_interrupt(EndOfInterrupt end, std::uint8_t vector) {
    if (end == EndOfInterrupt::local_apic) {
        local_apic_write(LocalApic::eoi, 0);
    } else if (end == EndOfInterrupt::pic) {
        pic_end_of_interrupt(static_cast<std::uint8_t>(vector - pic_vector_base));
    }
}

void on_unexpected(const Frame& frame, std::uint8_t vector) {
    if (vector < 32) {
        check("no_unexpected_exception", false, "vector ", frame.vector, " error ",
              Hex{frame.error}, " rip ", Hex{frame.rip});
        finish();
    }
    last_unexpected = vector;
    __atomic_fetch_add(&unexpected, 1, __ATOMIC_SEQ_CST);
    const bool from_pic = vector >= pic_vector_base && vector < pic_vector_base + 16;
    end_of_interrupt(from_pic ? EndOfInterrupt::pic : EndOfInterrupt::local_apic, vector);
}

}  // namespace

void interrupts_init() {
    for (std::size_t i = 0; i < 256; ++i) {
        const auto address = reinterpret_cast<std::uint64_t>(interrupt_entries[i]);
        idt[i] = {.offset_low = static_cast<std::uint16_t>(address),
                  .selector = 0x08,
                  .type = 0x8E00,  // present, interrupt gate
                  .offset_middle = static_cast<std::uint16_t>(address >> 16),
                  .offset_high = static_cast<std::uint32_t>(address >> 32)};
    }
    interrupts_load();
}

void interrupts_load() {
    struct [[gnu::packed]] {
        std::uint16_t limit = sizeof(idt) - 1;
        std::uint64_t base = reinterpret_cast<std::uint64_t>(idt);
    } pointer;
    asm volatile("lidt %0" : : "m"(pointer));
}

void expect(std::uint8_t vector, EndOfInterrupt end, Handler handler) {
    lines[vector].end = end;
    lines[vector].handler = handler;
    __atomic_store_n(&lines[vector].count, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&lines[vector].expected, true, __ATOMIC_SEQ_CST);
}

std::uint32_t interrupt_count(std::uint8_t vector) {
    return __atomic_load_n(&lines[vector].count, __ATOMIC_SEQ_CST);
}

std::uint32_t unexpected_count() {
    return __atomic_load_n(&unexpected, __ATOMIC_SEQ_CST);
}
std::uint8_t unexpected_vector() {
    return last_unexpected;
}

}  // namespace cupule::guest

void interrupt_dispatch(cupule::guest::Frame* frame) {
    using namespace cupule::guest;
    const auto vector = static_cast<std::uint8_t>(frame->vector);
    Line& line = lines[vector];
    if (!line.expected) {
        on_unexpected(*frame, vector);
        return;
    }
    __atomic_fetch_add(&line.count, 1, __ATOMIC_SEQ_CST);
    if (line.handler != nullptr) {
        line.handler(*frame);
    }
    end_of_interrupt(line.end, vector);
}
