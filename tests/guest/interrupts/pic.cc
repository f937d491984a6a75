/// 8259A: an edge from the UART, masking, priority registers, and no spurious interrupts.
///
/// Document: Intel 8259A data sheet (231468-003).
#include "runtime/pic.h"

#include "interrupts/interrupts.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"

namespace cupule::guest {
namespace {

constexpr std::uint16_t irq_bit = 1 << uart_irq;
constexpr std::uint8_t vector = pic_vector_base + uart_irq;
constexpr std::uint8_t reason_transmitter = 0x02;

struct Seen {
    std::uint8_t reason = 0;
    std::uint16_t in_service = 0;
};
constinit Seen seen;

void on_uart(Frame&) {
    seen.in_service = pic_in_service();
    seen.reason = uart_acknowledge() & 0x0F;
}

bool comes() {
    const std::uint32_t before = interrupt_count(vector);
    interrupts_on();
    const bool came = wait_until(200, [=] { return interrupt_count(vector) != before; });
    interrupts_off();
    return came;
}

bool stays_away() {
    const std::uint32_t before = interrupt_count(vector);
    interrupts_on();
    wait_ms(5);
    interrupts_off();
    return interrupt_count(vector) == before;
}

}  // namespace

void check_pic() {
    pic_unmask_only(0x5A5A);
    check("pic_mask_reads_back", pic_mask() == static_cast<std::uint16_t>(~0x5A5E),
          Hex{pic_mask()});
    pic_unmask_only(0);
    check("pic_requests_nothing_at_first", (pic_requests() & irq_bit) == 0, Hex{pic_requests()});

    // Nothing is printed while the interrupt is on: each character would raise it again.
    expect(vector, EndOfInterrupt::pic, on_uart);
    pic_connect(true);
    uart_interrupt_on();
    const std::uint16_t masked_requests = pic_requests();
    const bool masked_silent = stays_away();
    pic_unmask_only(irq_bit);
    const bool came = comes();
    const std::uint16_t idle = pic_in_service() | (pic_requests() & irq_bit);
    const bool came_once = stays_away() && interrupt_count(vector) == 1;
    uart_interrupt_off();
    uart_interrupt_on();
    const bool came_again = comes() && interrupt_count(vector) == 2;
    uart_interrupt_off();
    check("pic_masked_request_is_pending", (masked_requests & irq_bit) != 0, Hex{masked_requests});
    check("pic_masked_request_is_not_delivered", masked_silent, "delivered");
    check("pic_delivers_when_unmasked", came, "nothing came");
    check("pic_in_service_during_the_handler", seen.in_service == irq_bit, Hex{seen.in_service});
    check("uart_reason_is_the_transmitter", seen.reason == reason_transmitter, Hex{seen.reason});
    check("pic_is_idle_afterwards", idle == 0, Hex{idle});
    check("pic_edge_comes_once", came_once, interrupt_count(vector));
    check("pic_next_edge_comes", came_again, interrupt_count(vector));

    pic_connect(false);
    uart_interrupt_on();
    const bool disconnected = stays_away();
    uart_interrupt_off();
    check("pic_without_lint0_is_silent", disconnected, "delivered");
    pic_unmask_only(0);

    out8(0x20, 0x0C);  // OCW3 with P: the next read is a poll
    const std::uint8_t poll = in8(0x20);
    check("pic_poll_finds_nothing", (poll & 0x80) == 0, Hex{poll});
    const auto triggers = static_cast<std::uint16_t>(in8(0x4D0) | (in8(0x4D1) << 8));
    check("elcr_leaves_system_interrupts_edge", (triggers & 0x2107) == 0, Hex{triggers});
    pic_init();
}

}  // namespace cupule::guest
