/// What an access costs, in TSC cycles: minimum, median and mean of many. For bench/, not a test.
///
/// Prints, besides the usual lines, one line per kind of access:
///
///     cost NAME MINIMUM MEDIAN MEAN ns MEDIAN_NS
///
/// Options: count=N accesses of each kind (default 2000, at most 4096).
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/boot_info.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/pci.h"

namespace cupule::guest {
namespace {

constexpr std::uint32_t sample_max = 4096;
constinit std::uint32_t samples[sample_max];

/// Shell sort: small, and the median needs the order.
void sort(std::uint32_t count) {
    for (std::uint32_t gap = count / 2; gap > 0; gap /= 2) {
        for (std::uint32_t i = gap; i < count; ++i) {
            const std::uint32_t value = samples[i];
            std::uint32_t j = i;
            for (; j >= gap && samples[j - gap] > value; j -= gap) {
                samples[j] = samples[j - gap];
            }
            samples[j] = value;
        }
    }
}

template <typename Access>
void measure(const char* name, std::uint32_t count, std::uint64_t tsc_hz, Access access) {
    for (std::uint32_t i = 0; i < 100; ++i) {
        access();
    }
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint64_t begin = read_tsc();
        access();
        samples[i] = static_cast<std::uint32_t>(read_tsc() - begin);
        sum += samples[i];
    }
    sort(count);
    const std::uint64_t median = samples[count / 2];
    print("cost ", name, " ", samples[0], " ", median, " ", sum / count, " ns ",
          median * 1'000'000'000 / tsc_hz);
}

}  // namespace

void guest_main() {
    const std::uint64_t asked = option_number("count", 2000);
    const auto count =
        static_cast<std::uint32_t>(asked > 0 && asked < sample_max ? asked : sample_max);
    const std::uint64_t hz = measure_hz(100, read_tsc);
    print("# TSC ", hz / 1'000'000, " MHz, ", count, " accesses each");
    const auto run = [=](const char* name, auto access) { measure(name, count, hz, access); };
    const std::uint16_t pm = fadt().pm_timer;
    run("nothing", [] {});
    run("cpuid", [] { (void)cpuid(0); });
    run("post_out", [] { out8(0x80, 0); });
    run("post_in", [] { (void)in8(0x80); });
    run("unclaimed_port_in", [] { (void)in8(0x1234); });
    run("uart_status_in", [] { (void)in8(0x3FD); });
    run("uart_scratch_out", [] { out8(0x3FF, 0x55); });
    run("cmos_index_out", [] { out8(0x70, 0x0D); });
    run("cmos_data_in", [] { (void)in8(0x71); });
    run("pm_timer_in", [=] { (void)in32(pm); });
    run("pci_address_out", [] { out32(pci_address_port, 0x80000000); });
    run("pci_data_in", [] { (void)in32(pci_data_port); });
    if (const std::uint64_t ecam = ecam_base(); ecam != 0) {
        run("ecam_read", [=] { (void)mmio_read<std::uint32_t>(ecam); });
        run("ecam_absent_read", [=] { (void)mmio_read<std::uint32_t>(ecam + (0x13 << 15)); });
    }
    if (const std::uint64_t hpet = hpet_base(); hpet != 0) {
        run("hpet_counter_read", [=] { (void)mmio_read<std::uint64_t>(hpet + 0xF0); });
        run("hpet_status_write", [=] { mmio_write<std::uint32_t>(hpet + 0x20, 0); });
    }
    run("unclaimed_mmio_read", [] { (void)mmio_read<std::uint32_t>(0xFEC01000); });
    run("local_apic_read", [] { (void)local_apic_read(LocalApic::id); });
    run("pic_mask_in", [] { (void)in8(0x21); });
    check("accesses_measured", true);
}

}  // namespace cupule::guest
