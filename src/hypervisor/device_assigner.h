#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>

#include "base/error.h"
#include "io/io_request.h"
#include "irq/interrupt.h"
#include "memory/guest_address.h"

namespace cupule::hypervisor {

/// A PCI function of the host in a guest, as the hypervisor is told of it.
struct AssignedFunction {
    io::PciAddress guest{};
    io::PciAddress host{};
    /// What the guest finds in these registers of the header at first.
    std::uint8_t interrupt_line = 0;
    std::uint8_t interrupt_pin = 0;
    std::array<std::uint32_t, 6> bars{};
    /// The device model answers for the expansion ROM's register.
    bool model_has_rom = false;
};

/// Where the INTx of such a function leads. `host_gsi`: the input of the host's IOAPIC.
struct AssignedIntx {
    io::PciAddress guest{};
    io::PciAddress host{};
    irq::Gsi gsi{};
    std::uint32_t host_gsi = 0;
};

/// Physical memory of the host in a guest; all page-aligned.
struct AssignedMemory {
    /// Up to 8 characters, for the hypervisor's messages.
    std::string name{};
    memory::GuestAddress guest{};
    std::uint64_t host = 0;
    std::uint64_t size = 0;
};

// PCI functions that the hypervisor itself emulates.

/// A PCI Express root port with the time measurement of the host's own port `host`.
struct HypervisorRootPort {
    io::PciAddress guest{};
    io::PciAddress host{};
    /// The one bus behind it.
    std::uint8_t secondary_bus = 0;
    /// Of the host's port: Max_Payload_Size Supported, and where its PTM capability stands.
    std::uint8_t max_payload = 0;
    std::uint32_t time_offset = 0;
};

/// Memory shared between virtual machines (ivshmem), of a name that the hypervisor knows.
struct HypervisorSharedMemory {
    io::PciAddress guest{};
    /// "hv:/NAME"
    std::string name{};
    std::uint32_t size = 0;
    /// BAR registers: registers, MSI-X, the memory (two).
    std::array<std::uint32_t, 6> bars{};
};

/// A serial port that the hypervisor connects to another virtual machine.
struct HypervisorSerial {
    io::PciAddress guest{};
    std::uint16_t index = 0;
    std::array<std::uint32_t, 6> bars{};
};

using HypervisorFunction =
    std::variant<HypervisorRootPort, HypervisorSharedMemory, HypervisorSerial>;

/// Devices of the host that the hypervisor itself gives to a guest (ACRN), and functions that it
/// has of its own: the device model only says where the guest finds them. They come before the
/// start and after a reset, and go while the VM is paused or has not started. Control thread.
class DeviceAssigner {
  public:
    virtual ~DeviceAssigner() = default;
    virtual base::Result<void> assign(const AssignedFunction& function) = 0;
    virtual void deassign(const AssignedFunction& function) = 0;
    virtual base::Result<void> connect_intx(const AssignedIntx& intx) = 0;
    virtual void disconnect_intx(const AssignedIntx& intx) = 0;
    virtual base::Result<void> assign_memory(const AssignedMemory& memory) = 0;
    virtual void deassign_memory(const AssignedMemory& memory) = 0;
    virtual base::Result<void> create(const HypervisorFunction& function) = 0;
    virtual void destroy(const HypervisorFunction& function) = 0;
};

}  // namespace cupule::hypervisor
