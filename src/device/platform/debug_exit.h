#pragma once

#include <cstdint>

#include "device/platform/machine_requests.h"
#include "io/io_handler.h"
#include "snapshot/device.h"

namespace cupule::device {

/// The debug exit port: four bytes at port 0xF4 by which a test guest ends its machine.
///
/// Models: any write asks for power-off with the written value; reads are ones, 0xFFFF as a word,
///   as acrn-dm answers.
/// No hardware and no document: acrn-dm's `--debugexit`, QEMU's isa-debug-exit.
class DebugExit : public io::IoHandler, public snapshot::Device {
  public:
    static constexpr std::uint64_t port_count = 4;

    explicit DebugExit(DebugExitRequests& requests) : requests_(requests) {}

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    /// A write to another byte than the first counts too: the value is what was written.
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t) const override { return "DEBUG_EXIT"; }

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    struct State {
        std::uint32_t last_value = 0;
    };

    DebugExitRequests& requests_;
    State state_;
};

}  // namespace cupule::device
