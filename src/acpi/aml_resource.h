/// Resource descriptors: what a _CRS or _PRS says about the ports, memory and interrupts of a
/// device.
///
/// Document: ACPI Specification 6.5, section 6.4 (resource data types).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>

#include "acpi/aml.h"

namespace cupule::acpi::aml {

/// One or more encoded descriptors. They are no AML until they stand in a `resource_template`.
struct Resource {
    Bytes bytes;
};

/// ResourceTemplate (19.6.119): a buffer of descriptors and the end tag, whose checksum of zero
/// means "not checked" (6.4.2.9).
[[nodiscard]] Term resource_template(std::span<const Resource> resources);
[[nodiscard]] Term resource_template(std::initializer_list<Resource> resources);

/// IO with 16-bit decoding (6.4.2.5): `length` ports, base at a multiple of `alignment` from
/// `minimum` to `maximum`.
[[nodiscard]] Resource io_ports(std::uint16_t minimum, std::uint16_t maximum,
                                std::uint8_t alignment, std::uint8_t length);

/// FixedIO (6.4.2.6): ports of a device that decodes ten address bits.
[[nodiscard]] Resource fixed_io_ports(std::uint16_t base, std::uint8_t length);

/// IRQNoFlags (6.4.2.1): edge, active high, exclusive. `mask` has a bit per IRQ 0 to 15.
[[nodiscard]] Resource irq_no_flags(std::uint16_t mask);

enum class Trigger : std::uint8_t { level, edge };
enum class Polarity : std::uint8_t { active_high, active_low };
enum class Sharing : std::uint8_t { exclusive, shared };

/// IRQ (6.4.2.1) with flags.
[[nodiscard]] Resource irq(Trigger trigger, Polarity polarity, Sharing sharing, std::uint16_t mask);

/// Interrupt (6.4.3.6), consumer: any global system interrupts, 1 to 255 of them.
[[nodiscard]] Resource interrupt(Trigger trigger, Polarity polarity, Sharing sharing,
                                 std::span<const std::uint32_t> gsis);

enum class DmaType : std::uint8_t { compatibility = 0, type_a = 1, type_b = 2, type_f = 3 };
enum class DmaTransfer : std::uint8_t { bits_8 = 0, bits_8_and_16 = 1, bits_16 = 2 };

/// DMA (6.4.2.2); `mask` has a bit per channel 0 to 7.
[[nodiscard]] Resource dma(DmaType type, bool bus_master, DmaTransfer transfer, std::uint8_t mask);

enum class MemoryAccess : std::uint8_t { read_only = 0, read_write = 1 };

/// Memory32Fixed (6.4.3.4).
[[nodiscard]] Resource memory32_fixed(MemoryAccess access, std::uint32_t base,
                                      std::uint32_t length);

enum class AddressKind : std::uint8_t { memory = 0, io = 1, bus_number = 2 };
enum class AddressUsage : std::uint8_t { producer = 0, consumer = 1 };
enum class Decode : std::uint8_t { positive = 0, subtractive = 1 };

/// Type-specific flags of memory (table 6.42): bits 2:1 caching, bit 0 writeable.
inline constexpr std::uint8_t memory_read_write = 0x01;
inline constexpr std::uint8_t memory_cacheable = 0x02;
inline constexpr std::uint8_t memory_prefetchable = 0x06;
/// Type-specific flags of I/O (table 6.43): both ISA and non-ISA ranges.
inline constexpr std::uint8_t io_entire_range = 0x03;

/// An address space descriptor (6.4.3.5) with both ends fixed.
struct AddressSpace {
    AddressKind kind = AddressKind::memory;
    AddressUsage usage = AddressUsage::producer;
    Decode decode = Decode::positive;
    std::uint8_t type_flags = 0;
    std::uint64_t minimum = 0;
    std::uint64_t maximum = 0;  ///< last address, included
    std::uint64_t granularity = 0;
    std::uint64_t translation = 0;
};

/// The three widths; every number in `space` must fit.
[[nodiscard]] Resource word_address_space(const AddressSpace& space);
[[nodiscard]] Resource dword_address_space(const AddressSpace& space);
[[nodiscard]] Resource qword_address_space(const AddressSpace& space);

}  // namespace cupule::acpi::aml
