/// Random accesses to every port, register and configuration space of the platform; the VMM must
/// survive. What a hit would end (reset, power-off, debug exit, DMA) is left out.
///
/// Without strict=1 UARTs get single bytes only, because QEMU 7.2 asserts on wider accesses, and
/// configuration writes stay out of the registers that move a chip set's resources.
///
/// Options: seed=N (default 1), count=N accesses (default 50000).
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/boot_info.h"
#include "runtime/console.h"
#include "runtime/pci.h"
#include "runtime/pic.h"

namespace cupule::guest {
namespace {

/// Marsaglia's xorshift64; never zero.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}

    std::uint64_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_;
    }
    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>((next() >> 20) % bound);
    }
    /// Zeros, ones, small numbers and noise.
    std::uint64_t value() {
        switch (below(4)) {
            case 0:
                return 0;
            case 1:
                return ~std::uint64_t{0};
            case 2:
                return below(256);
            default:
                return next();
        }
    }

  private:
    std::uint64_t state_;
};

struct PortRange {
    std::uint16_t base = 0;
    std::uint16_t size = 0;
};

/// COM1's data port is left out: it would print.
constexpr PortRange ports[] = {
    {0x00, 0x20}, {0x20, 2},  {0x2E, 2},    {0x40, 4},     {0x4E, 2},   {0x60, 5},  {0x70, 8},
    {0x80, 0x10}, {0xA0, 2},  {0xC0, 0x20}, {0xF0, 2},     {0x170, 8},  {0x1F0, 8}, {0x220, 16},
    {0x2E8, 8},   {0x2F8, 8}, {0x376, 1},   {0x3B0, 0x30}, {0x3E8, 8},  {0x3F0, 8}, {0x3F9, 7},
    {0x4D0, 2},   {0x510, 4}, {0xCF8, 8},   {0x9000, 8},   {0xFFFC, 4},
};

constexpr PortRange forbidden_writes[] = {
    {0x92, 1},   // bit 0 resets
    {0xB2, 2},   // SMI
    {0xF4, 4},   // debug exit
    {0x3F8, 1},  // prints
    {0xCF9, 1},  // resets
};

bool touches(std::uint32_t port, std::uint32_t size, PortRange range) {
    return port < std::uint32_t{range.base} + range.size && range.base < port + size;
}

bool touches_uart(std::uint32_t port, std::uint32_t size) {
    constexpr PortRange uarts[] = {{0x2E8, 8}, {0x2F8, 8}, {0x3E8, 8}, {0x3F8, 8}};
    for (const PortRange& range : uarts) {
        if (touches(port, size, range)) {
            return true;
        }
    }
    return false;
}

bool is_write_allowed(std::uint32_t port, std::uint32_t size, std::uint64_t value) {
    // A doubleword at 0xCF8 is the address register and no reset.
    const bool is_pci_address = port == pci_address_port && size == 4;
    for (const PortRange& range : forbidden_writes) {
        if (touches(port, size, range) && !is_pci_address) {
            return false;
        }
    }
    if (const std::uint16_t control = fadt().pm1_control; touches(port, size, {control, 4})) {
        return false;  // sleeps
    }
    if (touches(port, size, {0x64, 1})) {
        const auto command = static_cast<std::uint8_t>(value);
        return port == 0x64 && size == 1 && command < 0xF0 &&
               command != 0xD1;  // pulse, output port
    }
    // A configuration access needs an address that is known: see config_access.
    return !touches(port, size, {pci_data_port, 4});
}

template <typename T>
void port_write(std::uint16_t port, std::uint64_t value) {
    out<T>(port, static_cast<T>(value));
}

class Fuzzer {
  public:
    explicit Fuzzer(std::uint64_t seed) : random_(seed) {
        const Fadt f = fadt();
        power_[0] = {.base = f.pm1_event, .size = 4};
        power_[1] = {.base = f.pm1_control, .size = 2};
        power_[2] = {.base = f.pm_timer, .size = 4};
        power_[3] = {.base = f.gpe0, .size = f.gpe0_size};
        hpet_ = hpet_base();
        ecam_ = ecam_base();
    }

    void step() {
        switch (random_.below(8)) {
            case 0:
                config_access();
                break;
            case 1:
            case 2:
                mmio_access();
                break;
            case 3:
                string_access();
                break;
            default:
                port_access();
                break;
        }
    }

  private:
    std::uint16_t choose_port() {
        constexpr std::uint32_t fixed = sizeof(ports) / sizeof(ports[0]);
        const std::uint32_t index = random_.below(fixed + 8);
        if (index >= fixed + 4) {
            return static_cast<std::uint16_t>(random_.next());
        }
        const PortRange range = index < fixed ? ports[index] : power_[index - fixed];
        return range.size == 0 ? std::uint16_t{0x80}
                               : static_cast<std::uint16_t>(range.base + random_.below(range.size));
    }

    void port_access() {
        const std::uint16_t port = choose_port();
        const std::uint32_t any_size = 1U << random_.below(3);
        const std::uint32_t size = touches_uart(port, any_size) && !is_strict() ? 1 : any_size;
        const std::uint64_t value = random_.value();
        // Random ports may belong to somebody (PCI bars, power management): those are only read.
        const bool known = is_known(port, size);
        if (random_.below(2) == 0 && known && is_write_allowed(port, size, value)) {
            if (size == 1) {
                port_write<std::uint8_t>(port, value);
            } else if (size == 2) {
                port_write<std::uint16_t>(port, value);
            } else {
                port_write<std::uint32_t>(port, value);
            }
        } else if (size == 1) {
            (void)in8(port);
        } else if (size == 2) {
            (void)in16(port);
        } else {
            (void)in32(port);
        }
    }

    bool is_known(std::uint32_t port, std::uint32_t size) const {
        for (const PortRange& range : ports) {
            if (touches(port, size, range)) {
                return true;
            }
        }
        for (const PortRange& range : power_) {
            if (touches(port, size, range)) {
                return true;
            }
        }
        return false;
    }

    void string_access() {
        alignas(16) std::uint8_t bytes[64] = {};
        const std::uint8_t* from = bytes;
        std::uint8_t* to = bytes;
        std::uint64_t count = random_.below(16) + 1;
        const std::uint16_t port = random_.below(2) == 0 ? 0x80 : 0x71;
        switch (random_.below(4)) {
            case 0:
                asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(port) : "memory");
                break;
            case 1:
                asm volatile("rep insb" : "+D"(to), "+c"(count) : "d"(port) : "memory");
                break;
            case 2:
                asm volatile("rep insl" : "+D"(to), "+c"(count) : "d"(port) : "memory");
                break;
            default:
                asm volatile("rep outsl" : "+S"(from), "+c"(count) : "d"(0x80) : "memory");
                break;
        }
    }

    /// Configuration space of 0:0.0 to 0:3.7 and of absent devices; never bus mastering, and on
    /// bridges and devices of chip sets only the standard registers.
    void config_access() {
        const auto address = static_cast<PciAddress>(
            random_.below(4) != 0 ? random_.below(32) : random_.below(0x10000));
        const std::uint32_t offset = random_.below(256);
        const std::uint32_t size = 1U << random_.below(3);
        if (random_.below(2) == 0 || !is_config_write_allowed(offset, size)) {
            read_config(address, offset, size);
            return;
        }
        pci_select(address, offset);
        const auto port = static_cast<std::uint16_t>(pci_data_port + (offset & 3));
        const std::uint64_t value = random_.value();
        if (size == 1) {
            port_write<std::uint8_t>(port, value);
        } else if (size == 2) {
            port_write<std::uint16_t>(port, value);
        } else {
            port_write<std::uint32_t>(port, value);
        }
    }

    static bool is_config_write_allowed(std::uint32_t offset, std::uint32_t size) {
        const bool is_command = offset < 6 && offset + size > 4;
        const bool is_standard = offset + size <= 0x40;
        const bool is_pirq = offset >= 0x60 && offset + size <= 0x6C && is_strict();
        return !is_command && (is_standard || is_pirq || is_strict());
    }

    void read_config(PciAddress address, std::uint32_t offset, std::uint32_t size) {
        pci_select(address, offset);
        const auto port = static_cast<std::uint16_t>(pci_data_port + (offset & 3));
        if (size == 1) {
            (void)in8(port);
        } else if (size == 2) {
            (void)in16(port);
        } else {
            (void)in32(port);
        }
        if (ecam_ != 0) {
            const std::uint64_t at = ecam_address(ecam_, address, random_.below(4096));
            (void)(size == 1 ? mmio_read<std::uint8_t>(at) : mmio_read<std::uint32_t>(at));
        }
    }

    void mmio_access() {
        // The HPET's page and two places where nothing is.
        constexpr std::uint64_t holes[] = {0xFED40000, 0xFEC01000};
        const std::uint32_t choice = random_.below(8);
        const bool hpet = hpet_ != 0 && choice < 6;
        const std::uint64_t base = hpet ? hpet_ : holes[choice & 1];
        const std::uint64_t at = base + random_.below(hpet ? 0x400 : 0x1000);
        const std::uint64_t value = random_.value();
        const bool write = random_.below(2) == 0;
        switch (random_.below(4)) {
            case 0:
                access<std::uint8_t>(at, write, value);
                break;
            case 1:
                access<std::uint16_t>(at, write, value);
                break;
            case 2:
                access<std::uint32_t>(at, write, value);
                break;
            default:
                access<std::uint64_t>(at, write, value);
                break;
        }
    }

    template <typename T>
    static void access(std::uint64_t at, bool write, std::uint64_t value) {
        if (write) {
            mmio_write<T>(at, static_cast<T>(value));
        } else {
            (void)mmio_read<T>(at);
        }
    }

    Random random_;
    PortRange power_[4] = {};
    std::uint64_t hpet_ = 0;
    std::uint64_t ecam_ = 0;
};

}  // namespace

void guest_main() {
    local_apic_init();
    pic_init();
    io_apic_mask_all();
    const std::uint64_t seed = option_number("seed", 1);
    const std::uint64_t count = option_number("count", 50'000);
    print("# seed ", seed, ", ", count, " accesses");
    const auto host_bridge = pci_read<std::uint32_t>(0, 0);
    Fuzzer fuzzer(seed);
    for (std::uint64_t i = 0; i < count; ++i) {
        fuzzer.step();
        if (i % 10'000 == 9'999) {
            console_init();
            print("# ", i + 1);
        }
    }
    console_init();
    check("fuzzing_ends", true);
    check("pci_still_answers", pci_read<std::uint32_t>(0, 0) == host_bridge,
          Hex{pci_read<std::uint32_t>(0, 0)});
    out8(0x43, 0x34);
    out8(0x40, 0);
    out8(0x40, 0);
    const std::uint8_t before = in8(0x40);
    bool counts = false;
    for (int i = 0; i < 10'000 && !counts; ++i) {
        counts = in8(0x40) != before;
    }
    check("pit_still_counts", counts, before);
}

}  // namespace cupule::guest
