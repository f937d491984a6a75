/// Bring-up of every processor in the MADT, interrupts between them, and the MP table.
///
/// Options: cpus=N, the number the host asked for.
/// Documents: Intel SDM volume 3A 9.4 and 11.6; MultiProcessor Specification 1.4, chapter 4.
#include "runtime/acpi.h"
#include "runtime/apic.h"
#include "runtime/boot_info.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/interrupts.h"
#include "runtime/pic.h"
#include "runtime/processors.h"

namespace cupule::guest {
namespace {

constexpr std::uint8_t ping_vector = 0x60;
constexpr std::uint8_t pong_vector = 0x61;
constexpr std::uint8_t burst_vector = 0x62;
constexpr std::uint32_t additions = 10'000;
constexpr std::uint32_t bursts = 200;

/// Shared by all processors, indexed by APIC id where it is an array.
struct Shared {
    std::uint32_t starts[256];
    std::uint32_t cpuid_id[256];
    std::uint32_t extended_id[256];
    std::uint32_t pings[256];
    std::uint32_t nmis[256];
    std::uint32_t sum;
    std::uint32_t alive;
};
constinit Shared shared{};

void add_one(std::uint32_t& cell) {
    __atomic_fetch_add(&cell, 1, __ATOMIC_SEQ_CST);
}
std::uint32_t read(const std::uint32_t& cell) {
    return __atomic_load_n(&cell, __ATOMIC_SEQ_CST);
}

void on_ping(Frame&) {
    add_one(shared.pings[local_apic_id()]);
    if (local_apic_id() != madt().apic_ids[0]) {
        send_ipi(madt().apic_ids[0], ipi_fixed | ipi_assert | pong_vector);
    }
}

void on_nmi(Frame&) {
    add_one(shared.nmis[local_apic_id()]);
}

void ap_main(std::uint32_t) {
    const std::uint32_t id = local_apic_id();
    shared.cpuid_id[id] = cpuid(1).ebx >> 24;
    shared.extended_id[id] = cpuid(0).eax >= 0xB && cpuid(0xB).ebx != 0 ? cpuid(0xB).edx : id;
    for (std::uint32_t i = 0; i < additions; ++i) {
        add_one(shared.sum);
    }
    add_one(shared.alive);
    add_one(shared.starts[id]);
    for (;;) {
        sleep_interruptible();
    }
}

bool has_started_once(std::uint32_t id) {
    return read(shared.starts[id]) == 1;
}
bool has_started_twice(std::uint32_t id) {
    return read(shared.starts[id]) == 2;
}

/// Calls `visit(apic_id)` for every application processor.
template <typename Visit>
void for_each_ap(Visit visit) {
    for (std::size_t i = 0; i < madt().processor_count; ++i) {
        if (madt().apic_ids[i] != local_apic_id() && madt().apic_ids[i] < 255) {
            visit(madt().apic_ids[i]);
        }
    }
}

std::uint32_t ap_count() {
    return static_cast<std::uint32_t>(madt().processor_count - 1);
}

void check_madt() {
    const std::size_t count = madt().processor_count;
    print("# processors in the MADT: ", count);
    check("madt_first_processor_is_this_one", count > 0 && madt().apic_ids[0] == local_apic_id(),
          "MADT ", madt().apic_ids[0], ", this ", local_apic_id());
    bool distinct = true;
    for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            distinct = distinct && madt().apic_ids[i] != madt().apic_ids[j];
        }
    }
    check("madt_apic_ids_are_distinct", distinct, "one appears twice");
    check("madt_local_apic_address", madt().local_apic_address == 0xFEE00000,
          Hex{madt().local_apic_address});
    check("madt_has_an_io_apic_at_gsi_0", madt().io_apic_address != 0, "none");
    if (const std::uint64_t cpus = option_number("cpus", 0); cpus != 0) {
        check("madt_has_the_processors_asked_for", count == cpus, count, " of ", cpus);
    }
}

void check_start() {
    prepare_processors(ap_main);
    std::uint32_t started = 0;
    for_each_ap([&](std::uint32_t id) {
        if (start_processor(id, has_started_once)) {
            print("# processor ", id, " is up");
            ++started;
        } else {
            print("# processor ", id, " does not answer");
        }
    });
    check("all_processors_start", started == ap_count(), started, " of ", ap_count());
    check("atomic_additions_add_up", read(shared.sum) == started * additions, read(shared.sum));
    bool same = true;
    for_each_ap([&](std::uint32_t id) {
        same = same && shared.cpuid_id[id] == id && shared.extended_id[id] == id;
    });
    check("cpuid_gives_the_apic_id", same, "CPUID 1 or 0xB differs from the local APIC");
}

void check_ipis() {
    expect(ping_vector, EndOfInterrupt::local_apic, on_ping);
    expect(pong_vector, EndOfInterrupt::local_apic);
    expect(burst_vector, EndOfInterrupt::local_apic);
    expect(2, EndOfInterrupt::none, on_nmi);
    interrupts_on();

    std::uint32_t reached = 0;
    for_each_ap([&](std::uint32_t id) {
        const std::uint32_t pongs = interrupt_count(pong_vector);
        send_ipi(id, ipi_fixed | ipi_assert | ping_vector);
        reached +=
            wait_until(
                2000,
                [&] { return read(shared.pings[id]) == 1 && interrupt_count(pong_vector) > pongs; })
                ? 1U
                : 0U;
    });
    check("ipi_reaches_each_and_comes_back", reached == ap_count(), reached, " of ", ap_count());

    std::uint32_t burst_sent = 0;
    for_each_ap([&](std::uint32_t id) {
        for (std::uint32_t i = 0; i < bursts; ++i) {
            send_ipi(id, ipi_fixed | ipi_assert | burst_vector);
            ++burst_sent;
            if (!wait_until(2000, [&] { return interrupt_count(burst_vector) == burst_sent; })) {
                return;
            }
        }
    });
    check("no_ipi_gets_lost", interrupt_count(burst_vector) == ap_count() * bursts,
          interrupt_count(burst_vector), " of ", ap_count() * bursts);

    const std::uint32_t before = interrupt_count(burst_vector);
    send_ipi(0, ipi_fixed | ipi_assert | ipi_to_others | burst_vector);
    check("ipi_to_all_others",
          wait_until(2000, [&] { return interrupt_count(burst_vector) == before + ap_count(); }),
          interrupt_count(burst_vector) - before, " of ", ap_count());

    std::uint32_t nmis = 0;
    for_each_ap([&](std::uint32_t id) {
        send_ipi(id, ipi_nmi | ipi_assert);
        nmis += wait_until(2000, [&] { return read(shared.nmis[id]) == 1; }) ? 1U : 0U;
    });
    check("nmi_reaches_each", nmis == ap_count(), nmis, " of ", ap_count());
    interrupts_off();
}

/// A running processor that gets INIT waits for a STARTUP again.
void check_restart() {
    std::uint32_t restarted = 0;
    for_each_ap(
        [&](std::uint32_t id) { restarted += start_processor(id, has_started_twice) ? 1U : 0U; });
    check("init_makes_processors_start_again", restarted == ap_count(), restarted, " of ",
          ap_count());
}

std::uint64_t find_mp_pointer() {
    const auto valid = [](std::uint64_t p) {
        return p != 0 && checksum_is_zero(p, std::size_t{16} * load<std::uint8_t>(p + 8));
    };
    const std::uint64_t ebda = extended_bios_data_area();
    const std::uint64_t places[][2] = {
        {ebda, ebda == 0 ? 0 : ebda + 1024}, {0x9FC00, 0xA0000}, {0xF0000, 0x100000}};
    for (const auto& place : places) {
        const std::uint64_t p = find_signature("_MP_", place[0], place[1]);
        if (valid(p)) {
            return p;
        }
    }
    return 0;
}

struct MpCounts {
    std::uint32_t processors = 0;
    std::uint32_t boot_processors = 0;
    std::uint32_t unknown_processors = 0;
    std::uint32_t io_apics = 0;
    std::uint32_t buses = 0;
    std::uint32_t interrupts = 0;
    std::uint32_t entries = 0;
    bool fits = true;
};

bool is_in_madt(std::uint32_t id) {
    for (std::size_t i = 0; i < madt().processor_count; ++i) {
        if (madt().apic_ids[i] == id) {
            return true;
        }
    }
    return false;
}

MpCounts count_mp_entries(std::uint64_t table) {
    MpCounts counts;
    std::uint64_t entry = table + 44;
    const std::uint64_t end = table + load<std::uint16_t>(table + 4);
    while (entry < end) {
        const auto kind = load<std::uint8_t>(entry);
        if (kind == 0 && (load<std::uint8_t>(entry + 3) & 1) != 0) {
            ++counts.processors;
            counts.boot_processors += (load<std::uint8_t>(entry + 3) & 2) != 0 ? 1U : 0U;
            counts.unknown_processors += is_in_madt(load<std::uint8_t>(entry + 1)) ? 0U : 1U;
        }
        counts.buses += kind == 1 ? 1U : 0U;
        counts.io_apics += kind == 2 ? 1U : 0U;
        counts.interrupts += kind == 3 || kind == 4 ? 1U : 0U;
        if (kind > 4) {
            counts.fits = false;
            return counts;
        }
        ++counts.entries;
        entry += kind == 0 ? 20 : 8;
    }
    counts.fits = entry == end;
    return counts;
}

void check_mp_table() {
    const std::uint64_t pointer = find_mp_pointer();
    if (pointer == 0) {
        skip("mp_table", "no _MP_ in the places of the specification");
        return;
    }
    const std::uint64_t table = load<std::uint32_t>(pointer + 4);
    const bool signed_well = load<std::uint32_t>(table) == 0x504D4350;  // "PCMP"
    const auto size = load<std::uint16_t>(table + 4);
    if (!check("mp_table_signature_and_checksum", signed_well && checksum_is_zero(table, size),
               "at ", Hex{table}, " size ", size)) {
        return;
    }
    const MpCounts counts = count_mp_entries(table);
    check("mp_table_entries_fill_it",
          counts.fits && counts.entries == load<std::uint16_t>(table + 34), counts.entries,
          " entries");
    check("mp_table_has_one_boot_processor", counts.boot_processors == 1, counts.boot_processors);
    check("mp_table_processors_are_those_of_the_madt",
          counts.processors == madt().processor_count && counts.unknown_processors == 0,
          counts.processors, " in the MP table, ", madt().processor_count, " in the MADT, ",
          counts.unknown_processors, " unknown");
    check("mp_table_has_bus_io_apic_and_interrupts",
          counts.buses > 0 && counts.io_apics > 0 && counts.interrupts >= 2, counts.buses,
          " buses, ", counts.io_apics, " I/O APICs, ", counts.interrupts, " interrupts");
    check("mp_table_local_apic_address", load<std::uint32_t>(table + 36) == 0xFEE00000,
          Hex{load<std::uint32_t>(table + 36)});
}

}  // namespace

void guest_main() {
    local_apic_init();
    pic_init();
    io_apic_mask_all();
    check_madt();
    check_mp_table();
    check_start();
    check_ipis();
    check_restart();
}

}  // namespace cupule::guest
