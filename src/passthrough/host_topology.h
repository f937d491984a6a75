#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cupule::passthrough {

/// A PCI function's place on the host.
struct HostAddress {
    std::uint16_t domain = 0;
    std::uint8_t bus = 0;
    std::uint8_t device = 0;
    std::uint8_t function = 0;

    constexpr auto operator<=>(const HostAddress&) const = default;
    /// "0000:00:02.0", as Linux has it.
    std::string text() const;
    /// Hexadecimal "BB/DD/F", with '/', ':' or '.' between, or "DDDD:BB:DD.F".
    static std::optional<HostAddress> parse(std::string_view text);
};

/// What the host knows of a PCI function, from sysfs. Nothing is opened or changed.
struct HostFunction {
    HostAddress address{};
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint32_t class_code = 0;
    std::uint8_t header_type = 0;
    /// Empty: none.
    std::string driver{};
    std::optional<unsigned> iommu_group{};
    /// The Linux number of the INTx interrupt, the same for all functions on one line. Not known
    /// until a driver has enabled the function for the first time: the host's kernel looks then
    /// where the line leads, and before sysfs shows what firmware left for the 8259s.
    std::optional<unsigned> irq{};
    /// The GSI behind that, where /proc/interrupts and the host's MADT tell.
    std::optional<unsigned> gsi{};
    std::uint8_t interrupt_pin = 0;  // 1: INTA to 4: INTD; 0: no INTx
    bool has_msi = false;
    bool has_msix = false;
    /// The port above, when the function is not on a root bus.
    std::optional<HostAddress> upstream{};
    /// Of a virtual function (SR-IOV): the physical one that it is a part of.
    std::optional<HostAddress> physical{};
    /// The configuration space as far as this process may read it: 64, 256 or 4096 bytes. A virtual
    /// function's has its ids and no interrupt pin.
    std::vector<std::uint8_t> config{};

    bool is_bridge() const { return (header_type & 0x7F) != 0; }
    /// Can interrupt by INTx alone.
    bool needs_intx() const { return interrupt_pin != 0 && !has_msi && !has_msix; }
};

/// "/dev/vfio/devices/vfio0", a function's own character device; empty: the kernel has none, or
/// vfio-pci has not the function. `root` as HostTopology::read.
std::string vfio_character_device(const std::string& root, const HostAddress& address);

/// All PCI functions of the host at one moment.
class HostTopology {
  public:
    /// Reads `root`/sys and `root`/proc; tests name another root than "".
    static base::Result<HostTopology> read(const std::string& root = {});

    const std::vector<HostFunction>& functions() const { return functions_; }
    const HostFunction* find(const HostAddress& address) const;
    std::vector<const HostFunction*> group(unsigned number) const;
    /// Those of a physical function.
    std::vector<const HostFunction*> virtual_functions(const HostAddress& physical) const;
    /// Whether interrupts pass a remapping unit, as the kernel names its interrupt chips.
    bool remaps_interrupts() const { return remaps_interrupts_; }

  private:
    std::vector<HostFunction> functions_;
    bool remaps_interrupts_ = false;
};

}  // namespace cupule::passthrough
