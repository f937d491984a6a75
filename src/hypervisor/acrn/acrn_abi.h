#pragma once

#include <linux/acrn.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace cupule::hypervisor::acrn {

// The interface of /dev/acrn_hsm is <linux/acrn.h>. Here stands what acrn-dm's own header has
// beyond it, and what the kernel's header says without a name.

/// Requests that only ACRN's own kernel knows; others answer ENOTTY and are lived without.
inline constexpr unsigned long ioctl_setup_asyncio =
    _IOC(_IOC_WRITE, ACRN_IOCTL_TYPE, 0x90, sizeof(std::uint64_t));
inline constexpr unsigned long ioctl_setup_vm_event_ring =
    _IOC(_IOC_WRITE, ACRN_IOCTL_TYPE, 0xA0, sizeof(std::uint64_t));
inline constexpr unsigned long ioctl_setup_vm_event_fd =
    _IOC(_IOC_WRITE, ACRN_IOCTL_TYPE, 0xA1, sizeof(std::int32_t));

/// What SET_IRQLINE does to the GSI of the low half; stands in the high half of its argument.
enum class LineOperation : std::uint32_t {
    set_high = 0,
    set_low = 1,
    raising_pulse = 2,
    falling_pulse = 3,
};

/// acrn_vm_creation::vm_flag.
inline constexpr std::uint64_t vm_flag_secure_world = 1U << 0;
inline constexpr std::uint64_t vm_flag_lapic_passthrough = 1U << 1;
inline constexpr std::uint64_t vm_flag_completion_polling = 1U << 2;
inline constexpr std::uint64_t vm_flag_realtime = 1U << 4;

inline constexpr unsigned vcpus_max = ACRN_IO_REQUEST_MAX;
inline constexpr std::size_t page_size = 4096;
inline constexpr std::size_t vm_name_size = sizeof(acrn_vm_creation::uuid);
/// Inputs of the hypervisor's IOAPIC.
inline constexpr unsigned ioapic_inputs = 48;

/// The PCI Express root port of the hypervisor (CREATE_VDEV), and what it is told of it.
inline constexpr std::uint16_t root_port_vendor = 0x8086;
inline constexpr std::uint16_t root_port_device = 0x9D14;
struct RootPortArguments {
    std::uint16_t host_bdf = 0;
    /// Of Device Capabilities: Max_Payload_Size Supported.
    std::uint8_t max_payload = 0;
    std::uint8_t primary_bus = 0;
    std::uint8_t secondary_bus = 0;
    std::uint8_t subordinate_bus = 0;
    std::uint8_t ptm_capable = 0;
    /// Of the host's port.
    std::uint32_t ptm_offset = 0;
};

/// Memory between virtual machines: a name stands in the arguments. Serial ports: their number.
inline constexpr std::uint16_t shared_memory_vendor = 0x1AF4;
inline constexpr std::uint16_t shared_memory_device = 0x1110;
inline constexpr std::size_t shared_memory_name_size = 32;
inline constexpr unsigned shared_memory_bar = 2;
inline constexpr std::uint16_t serial_vendor = 0x9710;
inline constexpr std::uint16_t serial_device = 0x9900;

/// Where the answer of a request stands in it, whatever its type.
inline constexpr std::size_t value_offset =
    offsetof(acrn_io_request, reqs) + offsetof(acrn_mmio_request, value);
static_assert(offsetof(acrn_pio_request, value) == offsetof(acrn_mmio_request, value));
static_assert(offsetof(acrn_pci_request, value) == offsetof(acrn_mmio_request, value));

}  // namespace cupule::hypervisor::acrn
