#pragma once

#include <cstdint>

#include "device/platform/machine_requests.h"
#include "io/io_handler.h"
#include "snapshot/device.h"

namespace cupule::device {

/// The PC's reset control register, one byte at port 0xCF9.
///
/// The port lies inside PCI configuration mechanism 1's CONFIG_ADDRESS (0xCF8 to 0xCFB), which
/// takes only whole dwords: the handler of 0xCF8 passes one-byte accesses at offset 1 on to this
/// one, as the chip set does.
///
/// Models: SYS_RST, RST_CPU and FULL_RST; the reset comes when RST_CPU goes from 0 to 1; the
///   register reads back.
/// Leaves out: a reset of the CPUs alone (RST_CPU without SYS_RST, an INIT): it is a warm reset.
/// Intel ICH9 data sheet 316972-004, 13.7.5 (RST_CNT).
class ResetControl : public io::IoHandler, public snapshot::Device {
  public:
    static constexpr std::uint64_t port_count = 1;

    explicit ResetControl(ResetRequests& requests) : requests_(requests) {}

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t) const override { return "RST_CNT"; }

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    struct State {
        std::uint8_t control = 0;
    };

    ResetRequests& requests_;
    State state_;
};

}  // namespace cupule::device
