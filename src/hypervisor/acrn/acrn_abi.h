#pragma once

#include <linux/acrn.h>
#include <sys/ioctl.h>

#include <array>
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

/// Of acrn_ioeventfd::flags: the processor that rings does not wait.
inline constexpr std::uint32_t ioeventfd_flag_asyncio = 1U << 3;

/// The beginning of a page that the hypervisor fills as a ring (struct shared_buf): elements of
/// equal size follow. `head` and `tail` count bytes from there; at `head` the client reads, at
/// `tail` the hypervisor writes, which never fills the last place.
struct SharedRingHeader {
    std::uint64_t magic = 0;
    std::uint32_t elements = 0;
    std::uint32_t element_size = 0;
    std::uint32_t head = 0;
    std::uint32_t tail = 0;
    std::uint32_t flags = 0;
    std::uint32_t reserved = 0;
    std::uint32_t overruns = 0;
    std::uint32_t size = 0;
    std::array<std::uint32_t, 6> padding{};
};
inline constexpr std::uint64_t shared_ring_magic = 0x5AA5'7AA7'1AA1'3AA3;

/// What the hypervisor tells of a VM (struct vm_event).
struct VmEvent {
    std::uint32_t type = 0;
    std::array<std::uint8_t, 28> data{};
};
inline constexpr std::uint32_t vm_event_triple_fault = 2;

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
