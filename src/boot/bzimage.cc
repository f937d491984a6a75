#include "boot/bzimage.h"

#include <asm/bootparam.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

#include "base/bits.h"
#include "boot/boot_layout.h"

namespace cupule::boot {
namespace {

constexpr std::uint64_t header_offset = 0x1F1;
constexpr std::uint64_t jump_offset = 0x201;     // its value + 0x202 is the end of the header
constexpr std::uint64_t header_end_max = 0x290;  // boot_params gives the header no more room
constexpr std::uint64_t sector_size = 512;
constexpr std::uint64_t entry_64_offset = 0x200;
constexpr std::uint16_t boot_flag_value = 0xAA55;
constexpr std::uint32_t header_magic = 0x5372'6448;  // "HdrS"
constexpr std::uint64_t old_initrd_address_max = 0x37FF'FFFF;
constexpr std::uint64_t old_command_line_max = 255;

/// How long the header is at least, by protocol version: the end of the version's last field.
struct HeaderEnd {
    std::uint16_t version;
    std::uint16_t end;
};
constexpr std::array header_ends{
    HeaderEnd{0x200, 0x224}, HeaderEnd{0x201, 0x226}, HeaderEnd{0x202, 0x22C},
    HeaderEnd{0x203, 0x230}, HeaderEnd{0x205, 0x235}, HeaderEnd{0x206, 0x23C},
    HeaderEnd{0x207, 0x248}, HeaderEnd{0x208, 0x250}, HeaderEnd{0x209, 0x258},
    HeaderEnd{0x20A, 0x264}, HeaderEnd{0x20B, 0x268}, HeaderEnd{0x20F, 0x26C},
};

std::uint16_t header_end_min(std::uint16_t version) {
    const auto after = std::ranges::upper_bound(header_ends, version, {}, &HeaderEnd::version);
    return after == header_ends.begin() ? header_ends.front().end : std::prev(after)->end;
}

/// The header with its size checked, as bytes and as the structure of the kernel's ABI.
struct RawHeader {
    std::vector<std::byte> bytes;
    setup_header fields;
};

base::Result<RawHeader> read_header(const ImageFile& image) {
    const auto jump = image.load<std::uint8_t>(jump_offset);
    const auto version = image.load<std::uint16_t>(0x206);
    if (!jump || !version) {
        return base::fail("truncated: {} bytes, the setup header alone ends after {:#x}",
                          image.size(), 0x208);
    }
    if (*version < 0x200) {
        return base::fail("boot protocol {}.{:02} is not supported, 2.00 is the oldest",
                          *version >> 8, *version & 0xFF);
    }
    const std::uint64_t end = 0x202 + std::uint64_t{*jump};
    if (end < header_end_min(*version)) {
        return base::fail("the setup header ends at {:#x}, boot protocol {}.{:02} needs {:#x}", end,
                          *version >> 8, *version & 0xFF, header_end_min(*version));
    }
    RawHeader header{};
    header.bytes.resize(std::min(end, header_end_max) - header_offset);
    if (!image.read(header_offset, header.bytes)) {
        return base::fail("truncated: {} bytes, the setup header ends at {:#x}", image.size(), end);
    }
    std::memcpy(&header.fields, header.bytes.data(),
                std::min(sizeof header.fields, header.bytes.size()));
    return header;
}

base::Result<void> locate_code(BzImage& kernel, const setup_header& fields,
                               const ImageFile& image) {
    // 0 means 4 for kernels of the first days.
    const std::uint64_t setup_sectors = fields.setup_sects == 0 ? 4 : fields.setup_sects;
    kernel.code_offset = (setup_sectors + 1) * sector_size;
    if (image.size() <= kernel.code_offset) {
        return base::fail("truncated: {} bytes, its setup code alone has {} (setup_sects {})",
                          image.size(), kernel.code_offset, setup_sectors);
    }
    // The file may be longer than syssize says: signatures are appended.
    kernel.code_size = image.size() - kernel.code_offset;
    // Before 2.04 the upper half of syssize is not defined, so it says nothing about a bzImage.
    const std::uint64_t stated = kernel.version >= 0x204 ? std::uint64_t{fields.syssize} * 16 : 0;
    if (kernel.version >= 0x204 && stated == 0) {
        return base::fail("syssize is 0: it holds no protected-mode code");
    }
    if (stated > kernel.code_size) {
        return base::fail(
            "truncated: syssize says {} bytes of protected-mode code, the file has {}", stated,
            kernel.code_size);
    }
    return {};
}

base::Result<void> read_placement(BzImage& kernel, const setup_header& fields) {
    if (kernel.version >= 0x205) {
        kernel.relocatable = fields.relocatable_kernel != 0;
        kernel.alignment = fields.kernel_alignment;
        if (kernel.relocatable && !base::is_power_of_two(kernel.alignment)) {
            return base::fail("kernel_alignment {:#x} is not a power of two", kernel.alignment);
        }
    }
    if (!kernel.relocatable) {
        kernel.alignment = memory::page_size;
    }
    kernel.alignment = std::max(kernel.alignment, memory::page_size);
    // Kernels before 2.10 do not say what they need.
    kernel.runtime_size = kernel.code_size;
    if (kernel.version >= 0x20A) {
        kernel.runtime_size = std::max<std::uint64_t>(fields.init_size, kernel.code_size);
        if (fields.pref_address != 0) {
            kernel.preferred_address = fields.pref_address;
        }
    }
    if (kernel.preferred_address >= four_gibibytes) {
        return base::fail("pref_address {:#x} is not below 4 GiB", kernel.preferred_address);
    }
    return {};
}

base::Result<void> read_entry(BzImage& kernel, const setup_header& fields) {
    if (kernel.version < 0x20C) {
        return {};
    }
    kernel.entry_64 = (fields.xloadflags & XLF_KERNEL_64) != 0;
    kernel.above_4g = kernel.entry_64 && (fields.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) != 0;
    if (kernel.entry_64 && kernel.code_size <= entry_64_offset) {
        return base::fail(
            "truncated: {} bytes of protected-mode code do not reach the 64-bit entry",
            kernel.code_size);
    }
    return {};
}

}  // namespace

bool is_bzimage(const ImageFile& image) {
    return image.load<std::uint32_t>(0x202) == header_magic;
}

base::Result<BzImage> parse_bzimage(const ImageFile& image) {
    if (!is_bzimage(image)) {
        return base::fail("not a Linux bzImage: no \"HdrS\" at offset 0x202 ({} bytes)",
                          image.size());
    }
    CUPULE_TRY_ASSIGN(RawHeader header, read_header(image));
    const setup_header& fields = header.fields;
    if (fields.boot_flag != boot_flag_value) {
        return base::fail("boot_flag at 0x1fe is {:#06x} instead of 0xaa55",
                          std::uint16_t{fields.boot_flag});
    }
    if ((fields.loadflags & LOADED_HIGH) == 0) {
        return base::fail("a zImage (loadflags bit 0 clear) is not supported, build a bzImage");
    }
    BzImage kernel;
    kernel.version = fields.version;
    CUPULE_TRY(locate_code(kernel, fields, image));
    CUPULE_TRY(read_placement(kernel, fields));
    CUPULE_TRY(read_entry(kernel, fields));
    kernel.initrd_address_max =
        kernel.version >= 0x203 ? std::uint64_t{fields.initrd_addr_max} : old_initrd_address_max;
    kernel.command_line_max = old_command_line_max;
    if (kernel.version >= 0x206 && fields.cmdline_size != 0) {
        kernel.command_line_max = fields.cmdline_size;
    }
    kernel.setup_header = std::move(header.bytes);
    return kernel;
}

}  // namespace cupule::boot
