#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "pci/function.h"
#include "pci/pirq_router.h"
#include "snapshot/device.h"

// ISA (LPC) bridge, 8086:7000.
//
// Models: the routing of PIRQA to PIRQH to ISA IRQs at 0x60 to 0x63 and 0x68 to 0x6B.
// Leaves out: everything else of the part. ISA devices stand on the machine's ports directly, and
// ELCR (0x4D0, 0x4D1) belongs to the hypervisor.
// Differs on purpose: nothing known. Eight links in ICH's places under a PIIX3's id, as acrn-dm.
// Document: Intel 82801 (ICH9) data sheet, 316972-004, 13.1.17 and 13.1.19 (PIRQ[n]_ROUT).
namespace cupule::device {

class LpcBridge : public snapshot::Device, private pci::FunctionEvents {
  public:
    /// `pirqs` carries the links; it outlives the bridge.
    explicit LpcBridge(pci::PirqRouter& pirqs);

    pci::Function& function() { return function_; }

    /// As firmware does after a reset: routes each link to its IRQ, or nowhere.
    void program_links(const std::array<std::optional<std::uint8_t>, pci::pirq_links>& irqs);

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    void config_written(std::uint64_t offset, unsigned size) override;
    void update_routes();

    pci::PirqRouter& pirqs_;
    pci::Function function_;
};

}  // namespace cupule::device
