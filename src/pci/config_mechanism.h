#pragma once

#include <atomic>
#include <cstdint>

#include "event/mutex.h"
#include "io/io_dispatcher.h"
#include "io/io_handler.h"
#include "snapshot/device.h"

namespace cupule::pci {

/// Configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2): the address latch CONFIG_ADDRESS at
/// port 0xCF8 and the data window CONFIG_DATA at 0xCFC to 0xCFF, with register bits 11:8 in latch
/// bits 27:24 (as AMD and ACRN's hypervisor service module have it). The reset control register at
/// 0xCF9 shares the ports: it gets byte accesses there.
///
/// Mapped at 0xCF8 for 8 ports without a monitor: the latch is one atomic word, and each access
/// takes the one monitor of whom it reaches. Two vCPUs that use the mechanism at once mix up each
/// other's latch, as on hardware.
class ConfigMechanism : public io::IoHandler, public snapshot::Device {
  public:
    static constexpr std::uint64_t first_port = 0xCF8;
    static constexpr std::uint64_t port_count = 8;

    /// `reset_control` answers port 0xCF9 as its offset 0, under `reset_monitor`; nullptr both:
    /// nobody does.
    ConfigMechanism(io::PciConfigAccess& functions, io::IoHandler* reset_control,
                    event::Monitor* reset_monitor);

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t offset) const override;

    void reset() override;
    void visit(snapshot::Visitor& visitor) override;

  private:
    std::uint64_t read_byte(std::uint64_t offset);
    void write_byte(std::uint64_t offset, std::uint64_t value);
    std::uint64_t read_data(std::uint64_t lane, unsigned size);
    void write_data(std::uint64_t lane, unsigned size, std::uint64_t value);

    io::PciConfigAccess& functions_;
    io::IoHandler* reset_control_;
    event::Monitor* reset_monitor_;
    std::atomic<std::uint32_t> address_{0};  // CONFIG_ADDRESS
};

/// The enhanced configuration access mechanism (PCI Express Base 3.1, 7.2.2): 1 MiB of memory a
/// bus, 4 KiB a function. Has no state; mapped without a monitor, so that vCPUs meet only in a
/// function they share. Aligned 8-byte accesses are two of 4 bytes.
class Ecam : public io::IoHandler {
  public:
    static constexpr std::uint64_t size_of_bus = 0x10'0000;

    explicit Ecam(io::PciConfigAccess& functions) : functions_(functions) {}

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t offset) const override;

  private:
    io::PciConfigAccess& functions_;
};

}  // namespace cupule::pci
