#include "pci/intx_router.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "pci/bridge.h"

namespace cupule::pci {
namespace {

constexpr std::uint8_t pins_per_device = 4;

/// The pin of the bridge's device at which a pin behind it arrives (PCI-to-PCI Bridge 1.2, 9.1).
std::uint8_t swizzle(std::uint8_t device, std::uint8_t pin) {
    return static_cast<std::uint8_t>((pin - 1 + device) % pins_per_device + 1);
}

}  // namespace

class IntxRouter::Pin : public irq::LevelLine {
  public:
    Pin(std::unique_ptr<irq::LevelLine> gsi, std::unique_ptr<irq::LevelLine> pirq)
        : gsi_(std::move(gsi)), pirq_(std::move(pirq)) {}

    void set_level(bool asserted) override {
        gsi_->set_level(asserted);
        pirq_->set_level(asserted);
    }

  private:
    std::unique_ptr<irq::LevelLine> gsi_;
    std::unique_ptr<irq::LevelLine> pirq_;
};

IntxRouter::IntxRouter(irq::InterruptRouter& interrupts, irq::GsiAllocator& gsis, PirqRouter& pirqs)
    : interrupts_(interrupts), gsis_(gsis), pirqs_(pirqs) {}

IntxRouter::~IntxRouter() = default;

void IntxRouter::reserve_irq(unsigned irq) {
    CUPULE_ASSERT(irq < irq_users_.size());
    usable_irqs_ = static_cast<std::uint16_t>(usable_irqs_ & ~(1U << irq));
}

void IntxRouter::count_irq_use(unsigned irq) {
    CUPULE_ASSERT(irq < irq_users_.size());
    ++irq_users_[irq];
}

void IntxRouter::connect(const Bus& root) {
    connect_bus(root, {});
    std::ranges::sort(routes_, {},
                      [](const IntxRoute& route) { return std::pair(route.device, route.pin); });
}

void IntxRouter::connect_bus(const Bus& bus, const Path& path) {
    for (std::uint8_t device = 0; device < devices_per_bus; ++device) {
        std::array<unsigned, pins_per_device> users{};
        for (unsigned number = 0; number < functions_per_device; ++number) {
            const BusEntry* entry = bus.at(device, number);
            if (entry == nullptr || !entry->function->attributes().uses_intx) {
                continue;
            }
            const auto least = std::ranges::min_element(users);
            ++*least;
            const auto pin = static_cast<std::uint8_t>(least - users.begin() + 1);
            if (!is_connected(*entry->function)) {
                connect_function(*entry, device, pin, path);
            }
        }
    }
    bus.for_each([&](unsigned device, unsigned /*number*/, const BusEntry& entry) {
        if (entry.bridge != nullptr) {
            Path behind = path;
            behind.insert(behind.begin(), static_cast<std::uint8_t>(device));
            connect_bus(entry.bridge->secondary(), behind);
        }
    });
}

bool IntxRouter::is_connected(const Function& function) const {
    return std::ranges::any_of(connections_, [&](const Connection& connection) {
        return connection.entry.function == &function;
    });
}

void IntxRouter::connect_function(const BusEntry& entry, std::uint8_t device, std::uint8_t pin,
                                  const Path& path) {
    std::uint8_t root_device = device;
    std::uint8_t root_pin = pin;
    for (const std::uint8_t bridge : path) {
        root_pin = swizzle(root_device, root_pin);
        root_device = bridge;
    }
    const IntxRoute where = route(root_device, root_pin);
    auto line =
        std::make_unique<Pin>(interrupts_.make_level_line(where.gsi), pirqs_.make_pin(where.link));
    event::MutexLock lock(*entry.monitor);
    entry.function->connect_intx(pin, line.get());
    connections_.push_back(
        {.entry = entry, .gsi = where.gsi, .link = where.link, .pin = std::move(line)});
}

IntxRoute IntxRouter::route(std::uint8_t device, std::uint8_t pin) {
    for (const IntxRoute& known : routes_) {
        if (known.device == device && known.pin == pin) {
            return known;
        }
    }
    routes_.push_back(
        {.device = device, .pin = pin, .gsi = gsis_.allocate(), .link = choose_link()});
    return routes_.back();
}

std::uint8_t IntxRouter::choose_link() {
    const auto least = std::ranges::min_element(link_users_);
    ++*least;
    const auto link = static_cast<std::uint8_t>(least - link_users_.begin());
    if (!link_irqs_[link]) {
        link_irqs_[link] = choose_irq();
    }
    return link;
}

std::optional<std::uint8_t> IntxRouter::choose_irq() {
    std::optional<std::uint8_t> best;
    for (std::uint8_t irq = 0; irq < irq_users_.size(); ++irq) {
        const bool usable = ((usable_irqs_ >> irq) & 1) != 0;
        if (usable && (!best || irq_users_[irq] < irq_users_[*best])) {
            best = irq;
        }
    }
    if (best) {
        ++irq_users_[*best];
    }
    return best;
}

std::optional<irq::Gsi> IntxRouter::gsi_of(const Function& function) const {
    const auto found = std::ranges::find(connections_, &function, [](const Connection& connection) {
        return connection.entry.function;
    });
    return found != connections_.end() ? std::optional(found->gsi) : std::nullopt;
}

std::optional<std::uint8_t> IntxRouter::link_of(const Function& function) const {
    const auto found = std::ranges::find(connections_, &function, [](const Connection& connection) {
        return connection.entry.function;
    });
    return found != connections_.end() ? std::optional(found->link) : std::nullopt;
}

void IntxRouter::assign_interrupt_lines() {
    constexpr std::uint8_t not_connected = 0xFF;
    for (const Connection& connection : connections_) {
        const auto irq = link_irqs_[connection.link].value_or(not_connected);
        event::MutexLock lock(*connection.entry.monitor);
        connection.entry.function->write_config(config::interrupt_line, 1, irq);
    }
}

}  // namespace cupule::pci
