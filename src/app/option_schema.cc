#include "app/option_schema.h"

#include <fmt/core.h>

#include <array>

#include "base/assert.h"

namespace cupule::app {
namespace {

using enum OptionGroup;
using enum OptionStatus;
using Id = OptionId;
constexpr auto flag = OptionArgument::none;
constexpr auto value = OptionArgument::required;

// clang-format off
constexpr auto schema = std::to_array<OptionInfo>({
    {Id::memsize, "memsize", 'm', value, "SIZE(K|M|G)", "256M", machine, live, 64,
     "guest memory: 128M to 254G, a multiple of 2M; decimal, 0x or 0 in front as in C",
     "a bare number is a number of megabytes, as acrn-dm's help says (acrn-dm refuses it); KB, KiB and so on are "
     "taken, any other text behind the unit is an error (acrn-dm ignores it); the 2 MB rule is checked at once "
     "(acrn-dm fails when it starts the virtual machine)"},
    {Id::cpu_affinity, "cpu_affinity", 0, value, "ID[,ID...]", "vCPUs float", machine, live, 64,
     "local APIC ids of the host's processors, one vCPU on each",
     "an unknown id is an error that names the known ones (acrn-dm takes processor 63); text that is no number is an "
     "error (acrn-dm stops reading there); x2APIC ids are known; the option may be left out"},
    {Id::cpus, "cpus", 0, value, "N", "1, or one for each id of --cpu_affinity", machine, ours, 64,
     "number of vCPUs, 1 to 254; the hypervisor may allow fewer", ""},
    {Id::huge_pages, "huge-pages", 0, value, "auto|never", "auto", machine, ours, 64,
     "back guest memory with huge pages where the host has them, or never", "acrn-dm cannot run without huge pages"},
    {Id::hypervisor, "hypervisor", 0, value, "kvm|acrn", "kvm", machine, ours, 64,
     "who runs the guest's code: this kernel's KVM, or the ACRN hypervisor through its service module", ""},
    {Id::hsm, "hsm", 0, value, "DEVICE", "/dev/acrn_vhm or /dev/acrn_hsm", machine, ours, 64,
     "with --hypervisor acrn: the service module's device, for example that of `cupule hsm`", ""},
    {Id::kernel, "kernel", 'k', value, "FILE", "", boot, live, 1,
     "kernel: a bzImage, or an ELF vmlinux with a PVH entry",
     "acrn-dm takes bzImage files only"},
    {Id::ramdisk, "ramdisk", 'r', value, "FILE", "", boot, live, 1, "initial RAM disk of the kernel", ""},
    {Id::bootargs, "bootargs", 'B', value, "TEXT", "", boot, live, 1,
     "kernel command line, up to 2047 bytes", "all of it reaches the guest (acrn-dm copies 1024 bytes)"},
    {Id::elf_file, "elf_file", 'E', value, "FILE", "", boot, live, 1, "32-bit ELF file, with a multiboot 1 header or without", ""},
    {Id::ovmf, "ovmf", 0, value, "[w,]FILE | [w,]code=FILE,vars=FILE", "", boot, planned, 64,
     "UEFI firmware; with w the guest's changes of variables are written back", ""},
    {Id::pci_slot, "pci_slot", 's', value, "[BUS:]SLOT[:FUNC],DEVICE[,OPTIONS]", "", devices, live, 1,
     "put a device on the PCI bus, decimal numbers; `cupule devices` lists the devices",
     "an obsolete device is ignored with a warning (acrn-dm says so and then exits with 1); a slot without function 0 "
     "is an error (in acrn-dm the guest cannot see the slot)"},
    {Id::lpc, "lpc", 'l', value, "com(1|2|3|4)[,BACKEND] | com5[,BACKEND[,PORT[,IRQ]]]", "", devices, live, 64,
     "serial port behind the lpc device; BACKEND is stdio, pty, tcp:PORT, unix:PATH, file:PATH or /dev/TTY; "
     "com5 is at PORT 0x9000 and IRQ 10 where not told otherwise",
     "com5's port and interrupt are numbers in decimal or with 0x, each may be left out, and bad ones are errors "
     "(acrn-dm misreads them); an lpc device must exist (acrn-dm finds out later); a port given twice is an error"},
    {Id::acpidev_pt, "acpidev_pt", 0, value, "HID[,UID]", "", devices, live, 64,
     "hand an ACPI device of the host to the guest: its memory, on KVM; UID is its _UID or the number in Linux's name",
     "any device with memory (acrn-dm has MSFT0101 alone); a driver that has it is an error"},
    {Id::mmiodev_pt, "mmiodev_pt", 0, value, "HEXBASE,HEXSIZE", "", devices, live, 64,
     "hand a range of the host's physical addresses to the guest, at the next free page from 0xf0000000, on KVM",
     "as many ranges as fit (acrn-dm has two); a malformed range is an error (acrn-dm goes on with an empty device)"},
    {Id::vtpm2, "vtpm2", 0, value, "sock_path=SOCKET", "", devices, planned, 64, "TPM 2.0, emulated by swtpm", ""},
    {Id::windows, "windows", 0, flag, "", "", devices, live, 64,
     "virtio disks, network cards and input devices with the subsystem vendor that signed Windows drivers look for (108E)", ""},
    {Id::virtio_msi, "virtio_msi", 0, flag, "", "", devices, live, 64, "virtio devices with MSI and without MSI-X", ""},
    {Id::enable_trusty, "enable_trusty", 0, flag, "", "", devices, planned, 64, "secure world for Trusty OS", ""},
    {Id::rtvm, "rtvm", 0, flag, "", "", realtime, live, 64,
     "real-time virtual machine; implies --lapic_pt; on KVM the guest halts and spins on its processors itself: give it its own with --cpu_affinity",
     "on KVM no exits at HLT and PAUSE, the hint KVM_HINTS_REALTIME, and the local APIC stays virtual"},
    {Id::lapic_pt, "lapic_pt", 0, flag, "", "", realtime, acrn_only, 64, "local APIC passed through; needs --rtvm", "on KVM a warning, whether --rtvm is there or not",
     "the guest's local APIC is always virtual"},
    {Id::virtio_poll, "virtio_poll", 0, value, "NS", "off", realtime, live, 64,
     "look for work in the virtqueues of disks and network cards for up to NS nanoseconds before sleeping, 1 to 10000000",
     "looks only as long as it has paid off lately, and right after work (acrn-dm polls every queue by a timer of NS)"},
    {Id::ssram, "ssram", 0, value, "REGION[;REGION...] with L(2|3),vcpu=(all|N,...),size=SIZE(K|M)", "", realtime, planned, 64,
     "software SRAM: cache ways for the guest",
     "without a value it is an error that says so (in acrn-dm a bare --ssram swallows the next option)"},
    {Id::intr_monitor, "intr_monitor", 0, value, "THRESHOLD/S,PERIOD_S,DELAY_MS,DURATION_MS", "off", life_cycle, live, 64,
     "slow down interrupts of passed-through devices that come faster than the threshold",
     "on KVM /proc/interrupts tells how many come, messages are held back and INTx is not, and there is a warning where no "
     "device is passed through"},
    {Id::cmd_monitor, "cmd_monitor", 0, value, "SOCKET", "off", life_cycle, live, 64,
     "take JSON commands on a Unix socket, and send VM events to clients that register",
     "four clients at once and each may get events (acrn-dm: one); stop, reset, suspend, resume and query beside "
     "acrn-dm's commands; a path that cannot be listened on is an error"},
    {Id::mngr, "mngr", 0, value, "DIRECTORY|off", "/run/acrn/mngr as acrn-dm and on ACRN, else off", life_cycle, ours, 64,
     "where the socket is by which acrnctl and acrnd list and control the virtual machine; see docs/control.md",
     "acrn-dm always has it"},
    {Id::grace, "grace", 0, value, "SECONDS", "60", life_cycle, ours, 64,
     "how long SIGTERM's power button waits for the guest, 0 to 86400", ""},
    {Id::exit_codes, "exit-codes", 0, value, "acrn|distinct", "acrn", life_cycle, ours, 64,
     "exit codes as acrn-dm has them, or one for each end; see docs/exit_codes.md", ""},
    {Id::on_crash, "on-crash", 0, value, "reset|exit", "reset", life_cycle, ours, 64,
     "what follows when the guest crashes its processor (triple fault): the machine starts anew, as a PC does, or the "
     "run ends", ""},
    {Id::debugexit, "debugexit", 0, flag, "", "", life_cycle, live, 64, "a write to port 0xF4 ends the virtual machine", ""},
    {Id::check, "check", 0, flag, "", "", diagnostics, ours, 64,
     "report all problems of the command line, start nothing; exits with 0 when there are none", ""},
    {Id::logger_setting, "logger_setting", 0, value, "(console|kmsg|disk),level=N[;...]", "console,level=3", diagnostics, live, 64,
     "where log lines go and how many: 1 errors to 5 all; disk is /var/log/acrn-dm/NAME_log_N",
     "the console starts at level 3 (acrn-dm: 4); a level outside 1 to 5 is an error"},
    {Id::log_level, "log-level", 0, value, "error|warning|notice|info|debug", "notice", diagnostics, ours, 64,
     "level of the log on standard error", ""},
    {Id::trace_io, "trace-io", 0, value, "FILE", "off", diagnostics, ours, 64,
     "record every I/O request with device, register, value and time", ""},
    {Id::stats, "stats", 0, value, "SECONDS", "off", diagnostics, ours, 64,
     "log what each virtqueue has done (requests, interrupts, latencies), and what of passed-through devices cupule "
     "carried, when the run ends, and every SECONDS where that is not 0; at most 86400", ""},
    {Id::help, "help", 'h', flag, "", "", diagnostics, live, 64, "print this and exit", ""},
    {Id::version, "version", 'v', flag, "", "", diagnostics, live, 64, "print the version and exit", ""},
    {Id::acpi, "acpi", 'A', flag, "", "", obsolete, ignored, 64, "ACPI tables are always made", ""},
    {Id::mptgen, "mptgen", 'Y', flag, "", "", obsolete, ignored, 64, "the MP table is always made", ""},
    {Id::gvtargs, "gvtargs", 'G', value, "TEXT", "", obsolete, ignored, 64, "GVT-g is gone", ""},
    {Id::ioc_node, "ioc_node", 'i', value, "TEXT", "", obsolete, ignored, 64, "the I/O controller is gone", ""},
    {Id::uuid, "uuid", 'U', value, "UUID", "", obsolete, ignored, 64, "virtual machines go by their names",
     "-U is ignored with a warning (acrn-dm prints its usage and exits with 1); older Kata and acrn-unit-test give it"},
    {Id::iasl, "iasl", 0, value, "FILE", "", obsolete, ignored, 64, "ACPI tables are made without a compiler",
     "acrn-dm needs iasl and runs it about ten times a start"},
    {Id::vsbl, "vsbl", 0, value, "FILE", "", obsolete, ignored, 64, "the virtual Slim Bootloader is gone", ""},
    {Id::part_info, "part_info", 0, value, "FILE", "", obsolete, ignored, 64, "partition information went with --vsbl", ""},
    {Id::mac_seed, "mac_seed", 0, value, "TEXT", "", obsolete, ignored, 64, "it is an option of virtio-net: mac_seed=TEXT", ""},
    {Id::pm_by_vuart, "pm_by_vuart", 0, value, "TEXT", "", obsolete, ignored, 64, "power management by serial port is gone", ""},
    {Id::pm_notify_channel, "pm_notify_channel", 0, value, "ioc | power_button | uart[,allow_trigger_s5]", "", obsolete,
     ignored, 64, "SIGTERM presses the guest's power button",
     "all its values are ignored with a warning (acrn-dm says obsolete, obeys power_button and ioc, and aborts at uart)"},
});
// clang-format on

constexpr bool ids_match_places() {
    for (std::size_t i = 0; i < schema.size(); ++i) {
        if (static_cast<std::size_t>(schema[i].id) != i) {
            return false;
        }
    }
    return true;
}
static_assert(ids_match_places());

constexpr bool acrn_only_options_say_why() {
    for (const OptionInfo& option : schema) {
        if ((option.status == acrn_only) == option.missing_on_kvm.empty()) {
            return false;
        }
    }
    return true;
}
static_assert(acrn_only_options_say_why());

}  // namespace

std::span<const OptionInfo> option_schema() {
    return schema;
}

const OptionInfo& option_info(OptionId id) {
    const auto index = static_cast<std::size_t>(id);
    CUPULE_ASSERT(index < schema.size());
    return schema[index];
}

std::string option_display(const OptionInfo& option) {
    return option.short_letter != 0 ? fmt::format("-{}/--{}", option.short_letter, option.long_name)
                                    : fmt::format("--{}", option.long_name);
}

std::string_view group_title(OptionGroup group) {
    switch (group) {
        case machine:
            return "Machine";
        case boot:
            return "Boot";
        case devices:
            return "Devices";
        case realtime:
            return "Real time";
        case life_cycle:
            return "Life cycle";
        case diagnostics:
            return "Diagnostics";
        case obsolete:
            return "Obsolete: taken with a warning, without effect";
    }
    return "";
}

}  // namespace cupule::app
