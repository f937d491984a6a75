#pragma once

#include <cstdint>
#include <vector>

#include "passthrough/config_policy.h"
#include "passthrough/host_device.h"
#include "pci/function.h"

namespace cupule::passthrough {

/// The registers of a function that are the device's own: reads refresh them from the host, writes
/// go there. Called with the function's monitor held.
class PassedConfig {
  public:
    /// Both outlive this.
    PassedConfig(pci::Function& function, HostDevice& host);

    /// Puts a capability's registers into the function's space, where it was added before.
    void add(const ConfigCapability& capability, const CapabilityPolicy& policy);
    /// Has the header's live bits read from the device.
    void add_header();
    /// Makes `field`, at the absolute `offset`, the device's.
    void add_field(std::uint16_t offset, const FieldPolicy& field);

    /// Before a guest's read, after a guest's write; any offset and size.
    void refresh(std::uint64_t offset, unsigned size);
    void forward(std::uint64_t offset, unsigned size);

  private:
    struct Rule {
        std::uint8_t live = 0;
        std::uint8_t passed = 0;
        std::uint8_t write_1_to_clear = 0;
    };
    void define(std::uint16_t offset, const Rule& rule, std::uint8_t stored, std::uint8_t hidden);

    pci::Function& function_;
    HostDevice& host_;
    std::vector<Rule> rules_;
};

}  // namespace cupule::passthrough
