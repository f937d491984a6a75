#include "acpi/aml_resource.h"

#include "acpi/little_endian.h"
#include "base/assert.h"

namespace cupule::acpi::aml {

namespace {

// Small descriptors carry their length in bits 2:0 of the tag (6.4.2).
constexpr std::uint8_t irq_no_flags_tag = 0x22;
constexpr std::uint8_t irq_tag = 0x23;
constexpr std::uint8_t dma_tag = 0x2A;
constexpr std::uint8_t io_tag = 0x47;
constexpr std::uint8_t fixed_io_tag = 0x4B;
constexpr std::uint8_t end_tag = 0x79;
// Large descriptors have a 16-bit length behind the tag (6.4.3).
constexpr std::uint8_t memory32_fixed_tag = 0x86;
constexpr std::uint8_t dword_address_tag = 0x87;
constexpr std::uint8_t word_address_tag = 0x88;
constexpr std::uint8_t interrupt_tag = 0x89;
constexpr std::uint8_t qword_address_tag = 0x8A;

constexpr std::uint8_t io_decode16 = 0x01;
constexpr unsigned min_fixed = 1U << 2;
constexpr unsigned max_fixed = 1U << 3;

Resource address_space(std::uint8_t tag, std::size_t width, const AddressSpace& space) {
    CUPULE_ASSERT(space.minimum <= space.maximum);
    const std::uint64_t number_max = ~std::uint64_t{0} >> (64 - 8 * width);
    const std::uint64_t length = space.maximum - space.minimum + 1;
    const unsigned flags = static_cast<unsigned>(space.usage) |
                           (static_cast<unsigned>(space.decode) << 1) | min_fixed | max_fixed;
    Resource resource{{tag}};
    append_little_endian(resource.bytes, 3 + 5 * width, 2);
    resource.bytes.push_back(static_cast<std::uint8_t>(space.kind));
    resource.bytes.push_back(static_cast<std::uint8_t>(flags));
    resource.bytes.push_back(space.type_flags);
    for (const std::uint64_t number :
         {space.granularity, space.minimum, space.maximum, space.translation, length}) {
        CUPULE_ASSERT(number <= number_max);
        append_little_endian(resource.bytes, number, width);
    }
    return resource;
}

}  // namespace

Term resource_template(std::span<const Resource> resources) {
    Bytes all;
    for (const Resource& resource : resources) {
        all.insert(all.end(), resource.bytes.begin(), resource.bytes.end());
    }
    all.push_back(end_tag);
    all.push_back(0);
    return buffer(all);
}

Term resource_template(std::initializer_list<Resource> resources) {
    return resource_template(std::span<const Resource>(resources.begin(), resources.size()));
}

Resource io_ports(std::uint16_t minimum, std::uint16_t maximum, std::uint8_t alignment,
                  std::uint8_t length) {
    CUPULE_ASSERT(minimum <= maximum && length > 0);
    Resource resource{{io_tag, io_decode16}};
    append_little_endian(resource.bytes, minimum, 2);
    append_little_endian(resource.bytes, maximum, 2);
    resource.bytes.push_back(alignment);
    resource.bytes.push_back(length);
    return resource;
}

Resource fixed_io_ports(std::uint16_t base, std::uint8_t length) {
    CUPULE_ASSERT(base <= 0x3FF && length > 0);
    Resource resource{{fixed_io_tag}};
    append_little_endian(resource.bytes, base, 2);
    resource.bytes.push_back(length);
    return resource;
}

Resource irq_no_flags(std::uint16_t mask) {
    Resource resource{{irq_no_flags_tag}};
    append_little_endian(resource.bytes, mask, 2);
    return resource;
}

Resource irq(Trigger trigger, Polarity polarity, Sharing sharing, std::uint16_t mask) {
    const unsigned flags = (trigger == Trigger::edge ? 1U : 0U) |
                           (polarity == Polarity::active_low ? 1U << 3 : 0U) |
                           (sharing == Sharing::shared ? 1U << 4 : 0U);
    Resource resource{{irq_tag}};
    append_little_endian(resource.bytes, mask, 2);
    resource.bytes.push_back(static_cast<std::uint8_t>(flags));
    return resource;
}

Resource interrupt(Trigger trigger, Polarity polarity, Sharing sharing,
                   std::span<const std::uint32_t> gsis) {
    CUPULE_ASSERT(!gsis.empty() && gsis.size() <= 255);
    const unsigned consumer = 1U;
    const unsigned flags = consumer | (trigger == Trigger::edge ? 1U << 1 : 0U) |
                           (polarity == Polarity::active_low ? 1U << 2 : 0U) |
                           (sharing == Sharing::shared ? 1U << 3 : 0U);
    Resource resource{{interrupt_tag}};
    append_little_endian(resource.bytes, 2 + 4 * gsis.size(), 2);
    resource.bytes.push_back(static_cast<std::uint8_t>(flags));
    resource.bytes.push_back(static_cast<std::uint8_t>(gsis.size()));
    for (const std::uint32_t gsi : gsis) {
        append_little_endian(resource.bytes, gsi, 4);
    }
    return resource;
}

Resource dma(DmaType type, bool bus_master, DmaTransfer transfer, std::uint8_t mask) {
    const unsigned flags = (static_cast<unsigned>(type) << 5) | (bus_master ? 1U << 2 : 0U) |
                           static_cast<unsigned>(transfer);
    return Resource{{dma_tag, mask, static_cast<std::uint8_t>(flags)}};
}

Resource memory32_fixed(MemoryAccess access, std::uint32_t base, std::uint32_t length) {
    Resource resource{{memory32_fixed_tag, 9, 0, static_cast<std::uint8_t>(access)}};
    append_little_endian(resource.bytes, base, 4);
    append_little_endian(resource.bytes, length, 4);
    return resource;
}

Resource word_address_space(const AddressSpace& space) {
    return address_space(word_address_tag, 2, space);
}

Resource dword_address_space(const AddressSpace& space) {
    return address_space(dword_address_tag, 4, space);
}

Resource qword_address_space(const AddressSpace& space) {
    return address_space(qword_address_tag, 8, space);
}

}  // namespace cupule::acpi::aml
