#include "passthrough/config_policy.h"

#include <algorithm>
#include <array>

#include "pci/config_registers.h"

namespace cupule::passthrough {
namespace {

// PCI Local Bus 3.0, 6.2.3: whether INTx stands, for who shares its line or masks it by the command
// register.
constexpr auto header_fields = std::to_array<FieldPolicy>({
    {.offset = pci::config::status, .size = 2, .live = pci::Status::interrupt.mask},
});

// PCI Express Base 3.1, 7.8.
constexpr auto express_fields = std::to_array<FieldPolicy>({
    // Device Capabilities: all as it is; FLR stays offered, which the emulation carries out.
    {.offset = 0x04, .size = 4},
    // Device Control: payload and request sizes belong to the host's path, errors to the host.
    {.offset = 0x08, .size = 2, .stored = 0xFFFF, .hidden = 0x8000},
    // Device Status: errors and transactions pending.
    {.offset = 0x0A, .size = 2, .live = 0x003F, .passed = 0x000F, .write_1_to_clear = 0x000F},
    // Link Control: power saving and clocks belong to the host's port at the other end.
    {.offset = 0x10, .size = 2, .stored = 0x0FFB},
    {.offset = 0x12, .size = 2, .live = 0xFFFF},
    // Device Control 2: completion timeouts.
    {.offset = 0x28, .size = 2, .stored = 0xFFFF},
    {.offset = 0x2A, .size = 2, .live = 0xFFFF},
    {.offset = 0x30, .size = 2, .stored = 0xFFFF},
    {.offset = 0x32, .size = 2, .live = 0xFFFF},
});

// ECN Advanced Capabilities for conventional PCI: FLR, and transactions pending.
constexpr auto advanced_feature_fields = std::to_array<FieldPolicy>({
    {.offset = 0x04, .size = 1, .stored = 0x01, .hidden = 0x01},
    {.offset = 0x05, .size = 1, .live = 0x01},
});

// PCI Express Base 3.1, 7.10: the host handles errors, the guest sees none and keeps its masks.
constexpr auto error_fields = std::to_array<FieldPolicy>({
    {.offset = 0x04, .size = 4, .hidden = 0xFFFF'FFFF},
    {.offset = 0x08, .size = 4, .stored = 0xFFFF'FFFF},
    {.offset = 0x0C, .size = 4, .stored = 0xFFFF'FFFF},
    {.offset = 0x10, .size = 4, .hidden = 0xFFFF'FFFF},
    {.offset = 0x14, .size = 4, .stored = 0xFFFF'FFFF},
    {.offset = 0x18, .size = 4, .stored = 0x0000'0140, .hidden = 0x0000'001F},
    {.offset = 0x1C, .size = 4, .hidden = 0xFFFF'FFFF},
    {.offset = 0x20, .size = 4, .hidden = 0xFFFF'FFFF},
    {.offset = 0x24, .size = 4, .hidden = 0xFFFF'FFFF},
    {.offset = 0x28, .size = 4, .hidden = 0xFFFF'FFFF},
});

// Latency Tolerance Reporting, 7.25: the latencies belong to the host's platform.
constexpr auto latency_fields = std::to_array<FieldPolicy>({
    {.offset = 0x04, .size = 4, .stored = 0x1FFF'1FFF},
});

// Precision Time Measurement, 7.32: enable and effective granularity of a requester.
constexpr auto time_fields = std::to_array<FieldPolicy>({
    {.offset = 0x08, .size = 4, .live = 0x0000'FF03, .passed = 0x0000'FF01},
});

using enum Treatment;
namespace id = host_capability;

constexpr CapabilityPolicy hidden_policy{};
constexpr auto policies = std::to_array<CapabilityPolicy>({
    {.id = pci::capability::power_management, .treatment = emulated},
    {.id = id::vital_product_data, .treatment = passed},
    {.id = pci::capability::msi, .treatment = emulated},
    {.id = pci::capability::vendor_specific, .treatment = passed},
    {.id = pci::capability::express,
     .treatment = by_field,
     .fields = express_fields,
     .reset_offset = 0x08,
     .reset_mask = 0x8000},
    {.id = pci::capability::msix, .treatment = emulated},
    {.id = id::advanced_features,
     .treatment = by_field,
     .fields = advanced_feature_fields,
     .reset_offset = 0x04,
     .reset_mask = 0x0001},
    {.id = id::advanced_errors, .extended = true, .treatment = by_field, .fields = error_fields},
    {.id = id::device_serial_number, .extended = true, .treatment = fixed},
    {.id = id::vendor_specific_extended, .extended = true, .treatment = passed},
    {.id = id::latency_tolerance,
     .extended = true,
     .treatment = by_field,
     .fields = latency_fields},
    {.id = id::precision_time_measurement,
     .extended = true,
     .treatment = by_field,
     .fields = time_fields},
    {.id = id::designated_vendor_specific, .extended = true, .treatment = passed},
});

}  // namespace

std::span<const FieldPolicy> header_policy() {
    return header_fields;
}

const CapabilityPolicy& capability_policy(const ConfigCapability& capability) {
    const auto* found = std::ranges::find_if(policies, [&](const CapabilityPolicy& policy) {
        return policy.id == capability.id && policy.extended == capability.extended;
    });
    return found != policies.end() ? *found : hidden_policy;
}

}  // namespace cupule::passthrough
