/// Configuration space of every function: both mechanisms, lanes, read-only fields, BARs, lists.
///
/// Documents: PCI Local Bus Specification 3.0, chapter 6; PCI Express Base 4.0, 7.2.2.
#include "runtime/pci.h"

#include "runtime/acpi.h"
#include "runtime/console.h"

namespace cupule::guest {
namespace {

constexpr std::uint32_t last_bus = 3;

/// One line for all functions: the first function that fails is the detail.
class ForAll {
  public:
    explicit ForAll(const char* name) : name_(name) {}

    void note(bool passed, PciAddress address, std::uint32_t offset, std::uint64_t value) {
        if (passed_ && !passed) {
            passed_ = false;
            address_ = address;
            offset_ = offset;
            value_ = value;
        }
    }
    void report() const {
        check(name_, passed_, address_ >> 8, ":", (address_ >> 3) & 31, ".", address_ & 7,
              " register ", Hex{offset_}, " value ", Hex{value_});
    }

  private:
    const char* name_;
    bool passed_ = true;
    PciAddress address_ = 0;
    std::uint32_t offset_ = 0;
    std::uint64_t value_ = 0;
};

template <typename Visit>
void for_all(const char* name, Visit visit) {
    ForAll result(name);
    for_each_pci_function(last_bus, [&](PciAddress address) { visit(result, address); });
    result.report();
}

std::uint8_t header_type(PciAddress address) {
    return pci_read<std::uint8_t>(address, 0x0E) & 0x7F;
}

void check_address_port() {
    out32(pci_address_port, 0x80001234);
    check("address_port_reads_back", in32(pci_address_port) == 0x80001234,
          Hex{in32(pci_address_port)});
    // Only a doubleword is decoded by the bridge; 0xCF9 is left alone: it may reset the machine.
    out8(pci_address_port, 0x55);
    check("address_port_ignores_bytes", in32(pci_address_port) == 0x80001234,
          Hex{in32(pci_address_port)});
    out32(pci_address_port, 0);
    check("data_port_is_off_without_enable", in32(pci_data_port) == 0xFFFFFFFF,
          Hex{in32(pci_data_port)});
}

void check_functions() {
    std::uint32_t count = 0;
    for_each_pci_function(last_bus, [&](PciAddress address) {
        ++count;
        print("# ", address >> 8, ":", (address >> 3) & 31, ".", address & 7, " id ",
              Hex{pci_read<std::uint32_t>(address, 0)}, " class ",
              Hex{pci_read<std::uint32_t>(address, 8) >> 8});
    });
    check("there_are_functions", count > 0, "none");
    check("host_bridge_is_0_0_0", pci_read<std::uint16_t>(0, 0x0A) == 0x0600,
          Hex{pci_read<std::uint16_t>(0, 0x0A)});
    for_all("header_types_are_known", [](ForAll& result, PciAddress address) {
        result.note(header_type(address) <= 1, address, 0x0E, header_type(address));
    });
}

void check_lanes() {
    for_all("bytes_and_words_are_lanes_of_the_doubleword", [](ForAll& result, PciAddress address) {
        for (std::uint32_t offset = 0; offset < 256; offset += 4) {
            const auto whole = pci_read<std::uint32_t>(address, offset);
            std::uint32_t bytes = 0;
            for (std::uint32_t i = 0; i < 4; ++i) {
                bytes |= std::uint32_t{pci_read<std::uint8_t>(address, offset + i)} << (8 * i);
            }
            const auto words = pci_read<std::uint16_t>(address, offset) |
                               (std::uint32_t{pci_read<std::uint16_t>(address, offset + 2)} << 16);
            result.note(bytes == whole, address, offset, bytes);
            result.note(words == whole, address, offset, words);
        }
    });
    for_all("byte_writes_change_one_byte", [](ForAll& result, PciAddress address) {
        const auto old = pci_read<std::uint32_t>(address, 0x3C);
        pci_write<std::uint8_t>(address, 0x3C, 0x5A);  // interrupt line: a scratch register
        const auto now = pci_read<std::uint32_t>(address, 0x3C);
        result.note((now >> 8) == (old >> 8), address, 0x3C, now);
        const auto line = static_cast<std::uint8_t>(now);
        // A function without an interrupt may keep zero here.
        result.note(line == 0x5A || ((old >> 8) & 0xFF) == 0, address, 0x3C, now);
        pci_write<std::uint8_t>(address, 0x3C, static_cast<std::uint8_t>(old));
    });
}

void check_absent() {
    const PciAddress absent = (0 << 8) | (0x13 << 3);
    if (pci_read<std::uint16_t>(absent, 0) != 0xFFFF) {
        skip("absent_functions_read_ones", "0:13.0 is there");
        return;
    }
    pci_write<std::uint32_t>(absent, 0x10, 0);
    pci_write<std::uint8_t>(absent, 0x04, 0);
    bool ones = true;
    for (std::uint32_t offset = 0; offset < 256; offset += 4) {
        ones = ones && pci_read<std::uint32_t>(absent, offset) == 0xFFFFFFFF &&
               pci_read<std::uint8_t>(absent, offset + 3) == 0xFF &&
               pci_read<std::uint16_t>(absent, offset + 2) == 0xFFFF;
    }
    check("absent_functions_read_ones", ones, "0:13.0 by CF8");
    if (const std::uint64_t base = ecam_base(); base != 0) {
        mmio_write<std::uint32_t>(ecam_address(base, absent, 4), 0);
        check("absent_functions_read_ones_by_ecam",
              mmio_read<std::uint32_t>(ecam_address(base, absent, 0)) == 0xFFFFFFFF &&
                  mmio_read<std::uint16_t>(ecam_address(base, absent, 0xFFE)) == 0xFFFF &&
                  mmio_read<std::uint8_t>(ecam_address(base, absent, 0x101)) == 0xFF,
              "0:13.0");
    }
}

void check_ecam() {
    const std::uint64_t base = ecam_base();
    if (base == 0) {
        skip("ecam", "no MCFG");
        return;
    }
    for_all("ecam_shows_the_same_as_cf8", [=](ForAll& result, PciAddress address) {
        for (std::uint32_t offset = 0; offset < 256; offset += 4) {
            const auto value = mmio_read<std::uint32_t>(ecam_address(base, address, offset));
            result.note(value == pci_read<std::uint32_t>(address, offset), address, offset, value);
            const auto high = mmio_read<std::uint8_t>(ecam_address(base, address, offset + 3));
            result.note(high == value >> 24, address, offset + 3, high);
        }
    });
    for_all("ecam_writes_arrive", [=](ForAll& result, PciAddress address) {
        const auto old = pci_read<std::uint8_t>(address, 0x0C);  // cache line size
        mmio_write<std::uint8_t>(ecam_address(base, address, 0x0C), 0x10);
        const auto by_ecam = mmio_read<std::uint8_t>(ecam_address(base, address, 0x0C));
        result.note(by_ecam == pci_read<std::uint8_t>(address, 0x0C), address, 0x0C, by_ecam);
        pci_write<std::uint8_t>(address, 0x0C, old);
    });
    // What an unaligned or eight-byte access gives is open; it has to give something.
    std::uint64_t sink = 0;
    for (std::uint32_t offset = 0; offset < 16; ++offset) {
        sink += mmio_read<std::uint32_t>(ecam_address(base, 0, offset));
        sink += mmio_read<std::uint16_t>(ecam_address(base, 0, offset));
        sink += mmio_read<std::uint64_t>(ecam_address(base, 0, offset));
        mmio_write<std::uint16_t>(ecam_address(base, 0, offset), 0);
    }
    check("ecam_survives_unaligned_accesses",
          mmio_read<std::uint32_t>(ecam_address(base, 0, 0)) == pci_read<std::uint32_t>(0, 0),
          Hex{sink});
}

void check_read_only() {
    constexpr std::uint32_t registers[] = {0x00, 0x02, 0x08, 0x0A};
    for_all("ids_and_class_are_read_only", [&](ForAll& result, PciAddress address) {
        for (const std::uint32_t offset : registers) {
            const auto old = pci_read<std::uint16_t>(address, offset);
            pci_write<std::uint16_t>(address, offset, static_cast<std::uint16_t>(~old));
            const auto now = pci_read<std::uint16_t>(address, offset);
            result.note(now == old, address, offset, now);
        }
        const auto type = pci_read<std::uint8_t>(address, 0x0E);
        pci_write<std::uint8_t>(address, 0x0E, static_cast<std::uint8_t>(~type));
        result.note(pci_read<std::uint8_t>(address, 0x0E) == type, address, 0x0E, type);
        const auto pin = pci_read<std::uint8_t>(address, 0x3D);
        pci_write<std::uint8_t>(address, 0x3D, static_cast<std::uint8_t>(~pin));
        result.note(pci_read<std::uint8_t>(address, 0x3D) == pin && pin <= 4, address, 0x3D, pin);
    });
    for_all("reserved_command_bits_stay_zero", [](ForAll& result, PciAddress address) {
        const auto old = pci_read<std::uint16_t>(address, 0x04);
        // Bus mastering stays off: nobody has told the device where its memory is.
        pci_write<std::uint16_t>(address, 0x04, static_cast<std::uint16_t>(old | 0xF800));
        const auto now = pci_read<std::uint16_t>(address, 0x04);
        result.note((now & 0xF800) == 0, address, 0x04, now);
        pci_write<std::uint16_t>(address, 0x04, old);
    });
}

/// Sizing (6.2.5.1): the writable bits are one run from the size up to the top.
bool is_bar_mask(std::uint64_t writable, std::uint64_t width_mask, std::uint64_t size_min) {
    if (writable == 0) {
        return true;  // there is no BAR here
    }
    const std::uint64_t size = writable & (0 - writable);
    return size >= size_min && writable == (width_mask & ~(size - 1));
}

/// Checks the BAR at `offset`; gives back how many registers it takes.
std::uint32_t check_bar(ForAll& result, PciAddress address, std::uint32_t offset) {
    const auto old = pci_read<std::uint32_t>(address, offset);
    const bool io = (old & 1) != 0;
    const bool wide = !io && (old & 6) == 4;
    const std::uint32_t type_bits = io ? 3 : 15;
    const auto old_high = wide ? pci_read<std::uint32_t>(address, offset + 4) : 0U;
    pci_write<std::uint32_t>(address, offset, 0xFFFFFFFF);
    const auto low = pci_read<std::uint32_t>(address, offset);
    std::uint64_t writable = low & ~type_bits;
    if (wide) {
        pci_write<std::uint32_t>(address, offset + 4, 0xFFFFFFFF);
        writable |= std::uint64_t{pci_read<std::uint32_t>(address, offset + 4)} << 32;
    }
    pci_write<std::uint32_t>(address, offset, 0);
    const auto cleared = pci_read<std::uint32_t>(address, offset);
    pci_write<std::uint32_t>(address, offset, old);
    if (wide) {
        pci_write<std::uint32_t>(address, offset + 4, old_high);
    }
    const bool short_io = io && (writable >> 16) == 0;  // the upper half may be hard-wired zero
    const std::uint64_t width = wide       ? ~std::uint64_t{15}
                                : short_io ? 0xFFFC
                                           : 0xFFFFFFFF & ~type_bits;
    result.note(is_bar_mask(writable, width, io ? 4 : 16), address, offset, writable);
    result.note((low & type_bits) == (old & type_bits) && cleared == (old & type_bits), address,
                offset, cleared);
    result.note(pci_read<std::uint32_t>(address, offset) == old, address, offset, old);
    return wide ? 2 : 1;
}

void check_bars() {
    for_all("bar_sizing", [](ForAll& result, PciAddress address) {
        const auto command = pci_read<std::uint16_t>(address, 0x04);
        pci_write<std::uint16_t>(address, 0x04, static_cast<std::uint16_t>(command & ~3U));
        const std::uint32_t end = header_type(address) == 1 ? 0x18 : 0x28;
        for (std::uint32_t offset = 0x10; offset < end;) {
            offset += 4 * check_bar(result, address, offset);
        }
        pci_write<std::uint16_t>(address, 0x04, command);
    });
    for_all("rom_bar_sizing", [](ForAll& result, PciAddress address) {
        const std::uint32_t offset = header_type(address) == 1 ? 0x38 : 0x30;
        const auto old = pci_read<std::uint32_t>(address, offset);
        pci_write<std::uint32_t>(address, offset, 0xFFFFF800);
        const auto writable = pci_read<std::uint32_t>(address, offset) & 0xFFFFF800;
        result.note(is_bar_mask(writable, 0xFFFFF800, 2048), address, offset, writable);
        pci_write<std::uint32_t>(address, offset, old);
    });
}

void check_capabilities() {
    for_all("capability_list_ends", [](ForAll& result, PciAddress address) {
        if ((pci_read<std::uint16_t>(address, 0x06) & 0x10) == 0) {
            return;
        }
        std::uint32_t steps = 0;
        std::uint32_t at = pci_read<std::uint8_t>(address, 0x34) & 0xFC;
        while (at != 0) {
            result.note(at >= 0x40, address, 0x34, at);
            const auto id = pci_read<std::uint8_t>(address, at);
            result.note(id != 0 && id != 0xFF, address, at, id);
            if (at < 0x40 || ++steps > 48) {
                result.note(false, address, at, steps);
                return;
            }
            at = pci_read<std::uint8_t>(address, at + 1) & 0xFC;
        }
    });
    const std::uint64_t base = ecam_base();
    if (base == 0) {
        return;
    }
    for_all("extended_capability_list_ends", [=](ForAll& result, PciAddress address) {
        std::uint32_t steps = 0;
        std::uint32_t at = 0x100;
        while (at != 0) {
            const auto header = mmio_read<std::uint32_t>(ecam_address(base, address, at));
            if (header == 0 || header == 0xFFFFFFFF) {
                return;
            }
            at = (header >> 20) & 0xFFC;
            if ((at != 0 && at < 0x100) || ++steps > 960) {
                result.note(false, address, at, header);
                return;
            }
        }
    });
}

/// PIRQ routing of an ISA bridge that looks like Intel's: eight registers that begin as 0x80.
void check_pirq() {
    PciAddress bridge = 0;
    for_each_pci_function(0, [&](PciAddress address) {
        if (pci_read<std::uint16_t>(address, 0x0A) == 0x0601 && bridge == 0 &&
            pci_read<std::uint16_t>(address, 0) == 0x8086) {
            bridge = address;
        }
    });
    if (bridge == 0) {
        skip("pirq_registers", "no Intel ISA bridge");
        return;
    }
    bool kept = true;
    for (std::uint32_t i = 0; i < 8; ++i) {
        const std::uint32_t offset = i < 4 ? 0x60 + i : 0x64 + i;
        const auto old = pci_read<std::uint8_t>(bridge, offset);
        pci_write<std::uint8_t>(bridge, offset, 0x0B);
        kept = kept && (pci_read<std::uint8_t>(bridge, offset) & 0x8F) == 0x0B;
        pci_write<std::uint8_t>(bridge, offset, 0x80);
        kept = kept && (pci_read<std::uint8_t>(bridge, offset) & 0x80) == 0x80;
        pci_write<std::uint8_t>(bridge, offset, old);
        kept = kept && pci_read<std::uint8_t>(bridge, offset) == old;
    }
    check("pirq_registers", kept, "0x60-0x63, 0x68-0x6B do not keep what is written");
}

}  // namespace

void guest_main() {
    check_address_port();
    check_functions();
    check_lanes();
    check_absent();
    check_ecam();
    check_read_only();
    check_bars();
    check_capabilities();
    check_pirq();
}

}  // namespace cupule::guest
