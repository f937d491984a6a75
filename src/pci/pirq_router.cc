#include "pci/pirq_router.h"

#include <atomic>
#include <utility>

#include "base/assert.h"

namespace cupule::pci {

class PirqRouter::Pin : public irq::LevelLine {
  public:
    Pin(PirqRouter& router, unsigned link) : router_(router), link_(link) {}
    ~Pin() override { Pin::set_level(false); }
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;

    void set_level(bool asserted) override {
        if (asserted_.exchange(asserted) != asserted) {
            router_.change(link_, asserted);
        }
    }

  private:
    PirqRouter& router_;
    const unsigned link_;
    std::atomic<bool> asserted_{false};
};

PirqRouter::PirqRouter(irq::InterruptRouter& interrupts) {
    event::MutexLock lock(mutex_);
    for (std::uint32_t irq = 0; irq < lines_.size(); ++irq) {
        if (is_pirq_permitted(irq)) {
            lines_[irq] = interrupts.make_level_line(irq::Gsi{irq});
        }
    }
}

PirqRouter::~PirqRouter() = default;

std::unique_ptr<irq::LevelLine> PirqRouter::make_pin(unsigned link) {
    CUPULE_ASSERT(link < pirq_links);
    return std::make_unique<Pin>(*this, link);
}

void PirqRouter::route(unsigned link, std::optional<std::uint8_t> irq) {
    CUPULE_ASSERT(link < pirq_links);
    event::MutexLock lock(mutex_);
    const bool permitted = irq && is_pirq_permitted(*irq);
    const auto before = std::exchange(links_[link].irq, permitted ? irq : std::nullopt);
    drive();
    if (observer_ && before != links_[link].irq) {
        observer_(link, links_[link].irq);
    }
}

void PirqRouter::set_observer(Observer observer) {
    event::MutexLock lock(mutex_);
    observer_ = std::move(observer);
    for (unsigned link = 0; observer_ && link < pirq_links; ++link) {
        observer_(link, links_[link].irq);
    }
}

void PirqRouter::change(unsigned link, bool asserted) {
    event::MutexLock lock(mutex_);
    unsigned& pins = links_[link].asserted_pins;
    asserted ? ++pins : --pins;
    drive();
}

void PirqRouter::drive() {
    std::uint32_t asserted = 0;
    for (const Link& link : links_) {
        if (link.irq && link.asserted_pins != 0) {
            asserted |= 1U << *link.irq;
        }
    }
    for (unsigned irq = 0; irq < lines_.size(); ++irq) {
        if (lines_[irq] != nullptr) {
            lines_[irq]->set_level(((asserted >> irq) & 1) != 0);
        }
    }
}

}  // namespace cupule::pci
