#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "event/mutex.h"
#include "irq/interrupt.h"
#include "irq/interrupt_router.h"

namespace cupule::pci {

/// The links PIRQA to PIRQH of an ISA bridge.
inline constexpr unsigned pirq_links = 8;
/// ISA IRQs a link may be routed to: 3 to 7, 9 to 12, 14, 15 (Intel ICH, LPC PIRQn_ROUT).
inline constexpr std::uint16_t pirq_permitted_irqs = 0xDEF8;

constexpr bool is_pirq_permitted(unsigned irq) {
    return irq < 16 && ((pirq_permitted_irqs >> irq) & 1) != 0;
}

/// Carries PCI interrupt links to ISA IRQs, as the guest routes them. A link is asserted while any
/// of its pins is, an IRQ while any link routed to it is. Any thread; its lock stands between the
/// devices' monitors and the interrupt router's locks.
class PirqRouter {
  public:
    explicit PirqRouter(irq::InterruptRouter& interrupts);
    ~PirqRouter();
    PirqRouter(const PirqRouter&) = delete;
    PirqRouter& operator=(const PirqRouter&) = delete;

    /// A pin on `link` (0: PIRQA). Must not outlive the router.
    std::unique_ptr<irq::LevelLine> make_pin(unsigned link) CUPULE_EXCLUDES(mutex_);

    /// Routes a link to an IRQ, or nowhere; an IRQ that is not permitted is nowhere.
    void route(unsigned link, std::optional<std::uint8_t> irq) CUPULE_EXCLUDES(mutex_);

    /// `observer` hears where each link leads, now and at each change, with the router's lock held:
    /// for who drives pins of a link without this process. nullptr: nobody.
    using Observer = std::function<void(unsigned link, std::optional<std::uint8_t> irq)>;
    void set_observer(Observer observer) CUPULE_EXCLUDES(mutex_);

  private:
    class Pin;
    void change(unsigned link, bool asserted) CUPULE_EXCLUDES(mutex_);
    void drive() CUPULE_REQUIRES(mutex_);

    struct Link {
        unsigned asserted_pins = 0;
        std::optional<std::uint8_t> irq;
    };
    /// Guards links and the order in which lines are driven.
    event::Mutex mutex_;
    Observer observer_ CUPULE_GUARDED_BY(mutex_);
    std::array<Link, pirq_links> links_ CUPULE_GUARDED_BY(mutex_){};
    std::array<std::unique_ptr<irq::LevelLine>, 16> lines_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::pci
