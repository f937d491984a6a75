#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cupule::app {

/// The options of `cupule run`, in the schema's order.
enum class OptionId : std::uint8_t {
    memsize,
    cpu_affinity,
    cpus,
    huge_pages,
    hypervisor,
    hsm,
    kernel,
    ramdisk,
    bootargs,
    elf_file,
    ovmf,
    pci_slot,
    lpc,
    acpidev_pt,
    mmiodev_pt,
    vtpm2,
    windows,
    virtio_msi,
    enable_trusty,
    rtvm,
    lapic_pt,
    virtio_poll,
    ssram,
    intr_monitor,
    cmd_monitor,
    mngr,
    grace,
    exit_codes,
    on_crash,
    debugexit,
    check,
    logger_setting,
    log_level,
    trace_io,
    stats,
    help,
    version,
    acpi,
    mptgen,
    gvtargs,
    ioc_node,
    uuid,
    iasl,
    vsbl,
    part_info,
    mac_seed,
    pm_by_vuart,
    pm_notify_channel,
};

enum class OptionArgument : std::uint8_t { none, required };

enum class OptionGroup : std::uint8_t {
    machine,
    boot,
    devices,
    realtime,
    life_cycle,
    diagnostics,
    obsolete,
};

enum class OptionStatus : std::uint8_t {
    /// acrn-dm's, and this build's.
    live,
    /// Cupule's own.
    ours,
    /// acrn-dm's; on KVM the value is checked, then a warning says what does not happen there.
    acrn_only,
    /// acrn-dm's; the grammar is checked, then an error says that this build lacks the thing.
    planned,
    /// Taken with a warning, without effect.
    ignored,
};

/// One option. Parsing, `--help`, suggestions, `--check` and docs/command_line.md read nothing
/// else. All text is static.
struct OptionInfo {
    OptionId id{};
    std::string_view long_name;
    /// 0 where there is none.
    char short_letter = 0;
    OptionArgument argument = OptionArgument::none;
    /// What the value looks like, for people; empty without one.
    std::string_view grammar;
    /// What holds without the option; empty: nothing to say.
    std::string_view default_text;
    OptionGroup group{};
    OptionStatus status = OptionStatus::live;
    /// The exit code that acrn-dm gives a bad value: 1 or 64.
    std::uint8_t bad_value_exit = 64;
    std::string_view help;
    /// Where this differs from acrn-dm on purpose; empty: it does not.
    std::string_view differs;
    /// Of an option of ACRN's alone: why, to go behind "has no effect on KVM: "; else empty.
    std::string_view missing_on_kvm{};
};

std::span<const OptionInfo> option_schema();
const OptionInfo& option_info(OptionId id);

/// "-m" or "--grace": how messages name an option, the short form first where there is one:
/// "-m/--memsize".
std::string option_display(const OptionInfo& option);

/// Heading of a group in help and docs.
std::string_view group_title(OptionGroup group);

}  // namespace cupule::app
