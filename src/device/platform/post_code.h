#pragma once

#include <cstdint>

#include "io/io_handler.h"
#include "snapshot/device.h"

namespace cupule::device {

/// A diagnostic port that firmware writes its progress to: one byte, at 0x80 or 0x84. One object a
/// port.
///
/// Models: a byte latch. Linux writes 0x80 to wait a moment; that costs nothing but the exit.
/// IBM AT technical reference (manufacturing test port 0x80).
class PostCode : public io::IoHandler, public snapshot::Device {
  public:
    static constexpr std::uint64_t port_count = 1;

    std::uint64_t read(std::uint64_t, unsigned) override { return state_.code; }
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t) const override { return "POST"; }

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    struct State {
        std::uint8_t code = 0;
    };

    State state_;
};

}  // namespace cupule::device
