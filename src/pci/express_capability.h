#pragma once

#include <cstdint>

#include "pci/function.h"

namespace cupule::pci {

/// Device/port type of an Express function (PCI Express Base 3.1, table 7-12).
enum class ExpressType : std::uint8_t {
    endpoint = 0x0,
    legacy_endpoint = 0x1,
    root_port = 0x4,
    upstream_port = 0x5,
    downstream_port = 0x6,
    integrated_endpoint = 0x9,
};

/// Speed (3:0) and width (9:4) as Link Status has them: 2.5 GT/s, one lane.
inline constexpr std::uint16_t link_gen1_x1 = 0x0011;

struct ExpressOptions {
    ExpressType type = ExpressType::endpoint;
    /// Offers FLR; the device hears FunctionEvents::function_level_reset.
    bool function_level_reset = false;
    /// Of ports: their number in the link capabilities.
    std::uint8_t port_number = 0;
    /// What the link can and does run at; other bits of the register are ignored.
    std::uint16_t link = link_gen1_x1;
};

/// The PCI Express capability, version 2 (7.8): 60 bytes. Links are always up;
/// there is no slot, so no hot-plug. Function level reset works; other control bits are storage.
class ExpressCapability : public FunctionPart {
  public:
    ExpressCapability(Function& function, const ExpressOptions& options);

    std::uint16_t offset() const { return offset_; }
    void config_written(std::uint64_t offset, unsigned size) override;

  private:
    void define_device(const ExpressOptions& options);
    void define_link(const ExpressOptions& options);
    void define_root();

    Function& function_;
    const std::uint16_t offset_;
};

}  // namespace cupule::pci
