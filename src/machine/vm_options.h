#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"

namespace cupule::machine {

/// A virtual machine's name: part of socket and log file names, as long as acrn-dm allows.
constexpr std::size_t vm_name_length_max = 15;
constexpr std::uint64_t memory_size_min = std::uint64_t{128} << 20;
/// RAM is 2 GB below the PCI hole and the rest from 4 GB to the 64-bit PCI window at 256 GB.
constexpr std::uint64_t memory_size_max = std::uint64_t{254} << 30;
constexpr std::uint64_t memory_size_unit = std::uint64_t{2} << 20;
/// x86 Linux takes 2047 bytes and a NUL.
constexpr std::size_t bootargs_length_max = 2047;
/// Local APIC ids 0 to 254; the hypervisor may allow fewer.
constexpr unsigned vcpu_count_max = 254;

/// `--exit-codes`: acrn-dm's coarse codes, or one code for each way a run can end.
enum class ExitCodes : std::uint8_t { acrn, distinct };

/// `--on-crash`: what follows when the guest shuts its processor down (triple fault).
enum class OnCrash : std::uint8_t { reset, exit };

enum class Hypervisor : std::uint8_t { automatic, kvm, acrn };
enum class HugePages : std::uint8_t { automatic, never };

/// A processor of the host that one vCPU runs on, as `--cpu_affinity` names it.
struct PinnedCpu {
    std::uint32_t lapic_id = 0;
    /// Linux's number of it; empty where Linux has it offline (ACRN's pCPUs may be).
    std::optional<unsigned> host_cpu = std::nullopt;
    /// Its place in the host's MADT, which is what ACRN counts by.
    unsigned acrn_pcpu = 0;
};

/// One `-s`: a PCI function and what it is.
struct SlotOptions {
    /// 0 to 255, 0 to 31, 0 to 7.
    std::uint8_t bus = 0;
    std::uint8_t slot = 0;
    std::uint8_t function = 0;
    /// The firmware's boot disk: `b` behind the name.
    bool boot = false;
    /// A name in machine::device_catalogue().
    std::string device;
    /// The text behind the name's comma, for the device to parse.
    std::string options;
};

/// One `-l`: a serial port behind the LPC bridge.
struct SerialOptions {
    /// 1 to 5: COM1 to COM5.
    std::uint8_t port = 0;
    /// First of eight I/O ports, and the ISA interrupt.
    std::uint16_t io_base = 0;
    std::uint8_t irq = 0;
    /// The back end's specification, empty: an open wire.
    std::string backend;
};

/// `--intr_monitor`: when to slow a storm of interrupts, and how.
struct InterruptMonitorOptions {
    std::uint32_t threshold_per_s = 0;
    std::uint32_t period_s = 0;
    std::uint32_t delay_ms = 0;
    std::uint32_t duration_ms = 0;
};

/// `--ovmf`: one image, or code and variables apart.
struct FirmwareOptions {
    std::string image;
    std::string code;
    std::string variables;
    /// Variables the guest changes go back to the file.
    bool write_back = false;
};

/// `--acpidev_pt`: an ACPI device of the host by its hardware id; `uid` may be empty.
struct AcpiPassthroughOptions {
    std::string hid;
    std::string uid;
};

/// `--mmiodev_pt`: physical addresses of the host, in bytes.
struct MmioPassthroughOptions {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
};

/// `--logger_setting`: the level of each place that log lines go to, nullopt for off.
struct LoggerOptions {
    std::optional<base::LogLevel> console = base::LogLevel::notice;
    std::optional<base::LogLevel> kmsg = std::nullopt;
    std::optional<base::LogLevel> disk = std::nullopt;
};

/// All that `cupule run` was asked for, checked: plain data for the machine. Sizes are in bytes.
struct VmOptions {
    std::string name;
    std::uint64_t memory_size = std::uint64_t{256} << 20;
    /// 1 to vcpu_count_max; the length of `cpu_affinity` where that is not empty.
    unsigned vcpu_count = 1;
    /// One for each vCPU, or empty: vCPUs float.
    std::vector<PinnedCpu> cpu_affinity;
    HugePages huge_pages = HugePages::automatic;
    Hypervisor hypervisor = Hypervisor::automatic;
    /// The HSM's device; empty: where the system has it. For ACRN.
    std::string hsm_device;

    /// Paths, empty where not given. The firmware comes before the kernel, the kernel before the
    /// ELF file.
    std::string kernel;
    std::string ramdisk;
    std::string elf_file;
    std::string bootargs;
    std::optional<FirmwareOptions> firmware;

    /// In the order of the command line; no two share a function.
    std::vector<SlotOptions> slots;
    /// At most one a port.
    std::vector<SerialOptions> serial_ports;
    std::vector<AcpiPassthroughOptions> acpi_passthrough;
    std::vector<MmioPassthroughOptions> mmio_passthrough;
    /// Wishes for devices that come later; each is refused before a machine sees it as long as the
    /// option schema says `planned`.
    std::string tpm_socket;
    std::string software_sram;
    bool trusty = false;

    bool debug_exit = false;
    bool windows = false;
    bool virtio_msi_only = false;
    /// On KVM: the vCPUs have processors of their own.
    bool realtime = false;
    bool lapic_passthrough = false;
    /// How often virtqueues are polled, 0: they are not.
    std::uint64_t virtio_poll_ns = 0;
    std::optional<InterruptMonitorOptions> interrupt_monitor;
    /// Path of the JSON command socket, empty: none.
    std::string command_socket;
    /// Directory of the socket that acrnctl looks for, empty: none. `manager_required`: somebody
    /// asked for it, so that the run fails without it.
    std::string manager_directory;
    bool manager_required = false;

    /// How long SIGTERM's power button has before the virtual machine is ended.
    std::uint32_t grace_s = 60;
    OnCrash on_crash = OnCrash::reset;
    ExitCodes exit_codes = ExitCodes::acrn;
    LoggerOptions logger;
    /// Log statistics when the run ends, and at this period where it is not 0.
    std::optional<std::uint32_t> statistics_period_s;
    /// Path of the record of every I/O request, empty: none.
    std::string io_trace;
};

}  // namespace cupule::machine
