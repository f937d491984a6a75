#pragma once

#include <compare>
#include <cstdint>

namespace cupule::io {

enum class IoKind : std::uint8_t { port, mmio, pci_config };
enum class IoDirection : std::uint8_t { read, write };

/// The states of a request; the numbers are those of ACRN's shared request page (`processed`). The
/// hypervisor owns a request in `complete` and `free`, the HSM and its clients in between.
enum class IoState : std::uint32_t { pending = 0, complete = 1, processing = 2, free = 3 };

/// Bus, device, function of a PCI function (PCI Local Bus 3.0, 3.2.2.3).
struct PciAddress {
    std::uint8_t bus = 0;
    std::uint8_t device = 0;    // 0 to 31
    std::uint8_t function = 0;  // 0 to 7

    constexpr auto operator<=>(const PciAddress&) const = default;
    /// The 16-bit form used in requester ids and ECAM: bus[15:8] device[7:3] function[2:0].
    constexpr std::uint16_t routing_id() const {
        return static_cast<std::uint16_t>((bus << 8) | (device << 3) | function);
    }
    static constexpr PciAddress from_routing_id(std::uint16_t id) {
        return {.bus = static_cast<std::uint8_t>(id >> 8),
                .device = static_cast<std::uint8_t>((id >> 3) & 0x1F),
                .function = static_cast<std::uint8_t>(id & 0x7)};
    }
};

/// One access of a guest, as the hypervisor hands it up. A vCPU has at most one at a time.
struct IoRequest {
    IoKind kind = IoKind::port;
    IoDirection direction = IoDirection::read;
    IoState state = IoState::free;
    /// Bytes: 1, 2, 4, or 8 (mmio only).
    std::uint8_t size = 1;
    std::uint16_t vcpu = 0;
    /// For pci_config: whose configuration space; `address` is then the register offset (0 to
    /// 4095).
    PciAddress bdf{};
    /// Port number, guest physical address or register offset.
    std::uint64_t address = 0;
    /// Written value (upper bytes zero), or the answer.
    std::uint64_t value = 0;
};

/// Who handles requests: the dispatcher of a device model, or a table of doorbells before it.
class IoClient {
  public:
    virtual ~IoClient() = default;
    /// Completes the request: for a read, `value` is the answer; `state` is `complete` on return.
    /// Called by several threads at once, but by one at a time for each `vcpu`.
    virtual void handle(IoRequest& request) = 0;
};

}  // namespace cupule::io
