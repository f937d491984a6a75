#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "irq/gsi_allocator.h"
#include "irq/interrupt_router.h"
#include "pci/bus.h"
#include "pci/pirq_router.h"

namespace cupule::pci {

/// One pin of a device on the root bus and where it leads: a row of ACPI's _PRT and of the MP
/// table.
struct IntxRoute {
    std::uint8_t device = 0;
    std::uint8_t pin = 1;   // 1: INTA to 4: INTD
    irq::Gsi gsi{};         // APIC mode
    std::uint8_t link = 0;  // PIC mode; 0: PIRQA
};

/// Gives INTx pins to the functions that want one and carries them to the interrupt controllers: a
/// pin drives its GSI and its PIRQ link at once, and the guest listens to one of them. Pins of
/// devices behind bridges arrive at a pin of the bridge's device on the root bus (swizzled,
/// PCI-to-PCI Bridge 1.2, 9.1). Used by one thread while a machine is put together; the lines it
/// makes by any.
class IntxRouter {
  public:
    /// All three outlive the router, and the router the functions' last event.
    IntxRouter(irq::InterruptRouter& interrupts, irq::GsiAllocator& gsis, PirqRouter& pirqs);
    ~IntxRouter();
    IntxRouter(const IntxRouter&) = delete;
    IntxRouter& operator=(const IntxRouter&) = delete;

    /// Keeps an ISA IRQ that another device drives by edges away from the links.
    void reserve_irq(unsigned irq);
    /// Counts one level-triggered user that is not PCI (the SCI), so that links avoid it while
    /// others are free.
    void count_irq_use(unsigned irq);

    /// Connects each function of the tree that wants a pin and has none yet, in ascending order:
    /// the least used letter of its device, the next GSI, the least used link.
    void connect(const Bus& root);

    /// Where a connected function's pin leads in APIC mode; std::nullopt: it has no pin.
    std::optional<irq::Gsi> gsi_of(const Function& function) const;
    /// The same in PIC mode: the link, 0 for PIRQA.
    std::optional<std::uint8_t> link_of(const Function& function) const;

    /// By device and pin, ascending.
    const std::vector<IntxRoute>& routes() const { return routes_; }
    /// The IRQ that firmware routes each link to; std::nullopt for links nobody uses (and, with
    /// every IRQ reserved, for all).
    const std::array<std::optional<std::uint8_t>, pirq_links>& link_irqs() const {
        return link_irqs_;
    }
    /// As firmware does: writes each function's interrupt line register. After each reset; takes
    /// the functions' monitors.
    void assign_interrupt_lines();

  private:
    class Pin;
    struct Connection {
        BusEntry entry{};
        irq::Gsi gsi{};
        std::uint8_t link = 0;
        std::unique_ptr<Pin> pin;
    };
    /// Device numbers of the bridges on the way up, nearest first.
    using Path = std::vector<std::uint8_t>;

    void connect_bus(const Bus& bus, const Path& path);
    void connect_function(const BusEntry& entry, std::uint8_t device, std::uint8_t pin,
                          const Path& path);
    bool is_connected(const Function& function) const;
    IntxRoute route(std::uint8_t device, std::uint8_t pin);
    std::uint8_t choose_link();
    std::optional<std::uint8_t> choose_irq();

    irq::InterruptRouter& interrupts_;
    irq::GsiAllocator& gsis_;
    PirqRouter& pirqs_;
    std::vector<IntxRoute> routes_;
    std::vector<Connection> connections_;
    std::array<unsigned, pirq_links> link_users_{};
    std::array<std::optional<std::uint8_t>, pirq_links> link_irqs_{};
    std::array<unsigned, 16> irq_users_{};
    std::uint16_t usable_irqs_ = pirq_permitted_irqs;
};

}  // namespace cupule::pci
