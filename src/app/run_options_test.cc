#include "app/run_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "app/option_schema.h"
#include "app/run_checks.h"

namespace cupule::app {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Words = std::vector<std::string_view>;

/// A host with four processors (local APIC ids 0, 2, 4 offline, 6) where every file is there but
/// "/missing" and "/empty".
HostQueries fake_host() {
    return {.file_size = [](const std::string& path) -> base::Result<std::uint64_t> {
                if (path == "/missing") {
                    return base::fail("cannot open '/missing': No such file or directory");
                }
                return path == "/empty" ? 0 : 4096;
            },
            .cpus =
                [] {
                    std::vector<std::uint8_t> madt(44);
                    for (std::uint8_t id = 0; id <= 6; id = static_cast<std::uint8_t>(id + 2)) {
                        madt.insert(madt.end(), {0, 8, id, id, 1, 0, 0, 0});
                    }
                    return HostCpus::parse(
                        "processor: 0\napicid: 0\nprocessor: 1\napicid: 2\n"
                        "processor: 3\napicid: 6\n",
                        madt);
                },
            .check_channel = [](std::string_view spec) -> base::Result<void> {
                if (spec.starts_with("bogus")) {
                    return base::fail("'{}' is no back end", spec);
                }
                return {};
            }};
}

struct Outcome {
    RunRequest request;
    std::vector<std::string> errors;
    std::vector<std::string> warnings;
    int exit_code = 0;

    const VmOptions& options() const { return request.options; }
};

Outcome read(const Words& words) {
    Problems problems;
    Outcome outcome;
    outcome.request = read_run_options(words, fake_host(), problems);
    for (const Problem& problem : problems.errors()) {
        outcome.errors.push_back(problem.message);
    }
    outcome.warnings = problems.warnings();
    outcome.exit_code = problems.exit_code();
    return outcome;
}

/// A command line that has all it needs, with more words in front.
Outcome read_with(Words words) {
    words.insert(words.end(),
                 {"-k", "/bzImage", "-s", "0:0,hostbridge", "-s", "1:0,lpc", "-l", "com4", "vm"});
    return read(words);
}

Words words_of(std::string_view line) {
    Words words;
    std::size_t begin = 0;
    while ((begin = line.find_first_not_of(' ', begin)) != std::string_view::npos) {
        const std::size_t end = std::min(line.find(' ', begin), line.size());
        words.push_back(line.substr(begin, end - begin));
        begin = end;
    }
    return words;
}

struct ValueCase {
    OptionId id;
    /// A value that is taken, empty for a flag.
    std::string_view good;
    /// One that is not; empty where every text is taken.
    std::string_view bad;
    int bad_exit;
};

// The codes are those of acrn.md, appendix B.
constexpr ValueCase value_cases[] = {
    {OptionId::memsize, "2048M", "12M", 64},
    {OptionId::cpu_affinity, "0,2", "1", 64},
    {OptionId::cpus, "4", "0", 64},
    {OptionId::huge_pages, "never", "always", 64},
    {OptionId::hypervisor, "kvm", "xen", 64},
    {OptionId::hsm, "/dev/acrn_hsm", "", 64},
    {OptionId::kernel, "/bzImage", "/missing", 10},
    {OptionId::ramdisk, "/initrd", "/empty", 11},
    {OptionId::bootargs, "root=/dev/vda console=ttyS0", "", 0},
    {OptionId::elf_file, "/unit.elf", "/empty", 1},
    {OptionId::ovmf, "w,/OVMF.fd", "w,", 64},
    {OptionId::pci_slot, "3:0,amd_hostbridge", "3:9,amd_hostbridge", 1},
    {OptionId::lpc, "com2,stdio", "com7", 64},
    {OptionId::acpidev_pt, "MSFT0101", "x", 64},
    {OptionId::mmiodev_pt, "fed40000,1000", "fed40000", 64},
    {OptionId::vtpm2, "sock_path=/s", "/s", 64},
    {OptionId::windows, "", "", 0},
    {OptionId::virtio_msi, "", "", 0},
    {OptionId::enable_trusty, "", "", 0},
    {OptionId::rtvm, "", "", 0},
    {OptionId::lapic_pt, "", "", 0},
    {OptionId::virtio_poll, "1000000", "10000001", 64},
    {OptionId::ssram, "L2,vcpu=0,1,size=4K;L3,vcpu=all,size=2M", "L1", 64},
    {OptionId::intr_monitor, "10000,10,1,100", "10000,10", 64},
    {OptionId::cmd_monitor, "/run/vm.socket", "", 64},
    {OptionId::mngr, "/tmp/mngr", "", 64},
    {OptionId::grace, "5", "-5", 64},
    {OptionId::exit_codes, "distinct", "bhyve", 64},
    {OptionId::on_crash, "exit", "halt", 64},
    {OptionId::debugexit, "", "", 0},
    {OptionId::check, "", "", 0},
    {OptionId::logger_setting, "console,level=4;kmsg,level=3;disk,level=5", "tape,level=1", 64},
    {OptionId::log_level, "debug", "loud", 64},
    {OptionId::trace_io, "/tmp/trace", "", 64},
    {OptionId::stats, "10", "-1", 64},
    {OptionId::help, "", "", 0},
    {OptionId::version, "", "", 0},
    {OptionId::acpi, "", "", 0},
    {OptionId::mptgen, "", "", 0},
    {OptionId::gvtargs, "x", "", 0},
    {OptionId::ioc_node, "x", "", 0},
    {OptionId::uuid, "d2795438-25d6-11e8-864e-cb7a18b34643", "", 0},
    {OptionId::iasl, "/usr/bin/iasl", "", 0},
    {OptionId::vsbl, "/vsbl", "", 0},
    {OptionId::part_info, "/part", "", 0},
    {OptionId::mac_seed, "seed", "", 0},
    {OptionId::pm_by_vuart, "pty,/x", "", 0},
    {OptionId::pm_notify_channel, "uart,allow_trigger_s5", "", 0},
};

/// The option and its value as one long word.
std::string long_word(const OptionInfo& option, std::string_view value) {
    return option.argument == OptionArgument::none
               ? fmt::format("--{}", option.long_name)
               : fmt::format("--{}={}", option.long_name, value);
}

TEST(RunOptions, TakeAGoodValueOfEveryOption) {
    std::set<OptionId> seen;
    for (const ValueCase& c : value_cases) {
        seen.insert(c.id);
        const OptionInfo& option = option_info(c.id);
        const std::string word = long_word(option, c.good);
        const Outcome outcome =
            c.id == OptionId::hsm ? read_with({"--hypervisor", "acrn", word}) : read_with({word});
        if (option.status == OptionStatus::planned) {
            ASSERT_EQ(outcome.errors.size(), 1U) << word;
            EXPECT_THAT(outcome.errors[0],
                        AllOf(HasSubstr(option.long_name), HasSubstr("not part of this build")));
            EXPECT_EQ(outcome.exit_code, 1) << word;
        } else {
            EXPECT_THAT(outcome.errors, IsEmpty()) << word;
        }
        const bool warned =
            option.status == OptionStatus::ignored || option.status == OptionStatus::acrn_only ||
            c.id == OptionId::elf_file || c.id == OptionId::intr_monitor || c.id == OptionId::rtvm;
        EXPECT_EQ(outcome.warnings.size(), warned ? 1U : 0U) << word;
    }
    EXPECT_EQ(seen.size(), option_schema().size());
}

TEST(RunOptions, RefuseABadValueOfEveryOptionWithAcrnDmsExitCode) {
    for (const ValueCase& c : value_cases) {
        if (c.bad_exit == 0) {
            continue;
        }
        const OptionInfo& option = option_info(c.id);
        const std::string word = long_word(option, c.bad);
        const Outcome outcome = read_with({word});
        ASSERT_FALSE(outcome.errors.empty()) << word;
        EXPECT_EQ(outcome.exit_code, c.bad_exit) << word;
        EXPECT_THAT(outcome.errors[0],
                    AllOf(HasSubstr(option.long_name), HasSubstr(std::string(c.bad))));
    }
}

TEST(RunOptions, PutEveryValueInItsPlace) {
    const Outcome outcome = read(words_of(
        "-m 2G --cpu_affinity 0,6 --huge-pages never --hypervisor kvm -k /bzImage -r /initrd "
        "-B quiet -s 0:0,hostbridge -s 1:0,lpc -l com1,stdio -lcom5,pty,0x8000,11 --windows "
        "--virtio_msi --rtvm --virtio_poll 1000 --intr_monitor 1,2,3,4 --cmd_monitor /s "
        "--grace 7 --on-crash exit --exit-codes distinct --debugexit --logger_setting disk,level=5 "
        "--log-level error --trace-io /t vm-1"));
    EXPECT_THAT(outcome.errors, IsEmpty());
    const VmOptions& options = outcome.options();
    EXPECT_EQ(options.name, "vm-1");
    EXPECT_EQ(options.memory_size, std::uint64_t{2} << 30);
    EXPECT_EQ(options.vcpu_count, 2U);
    ASSERT_EQ(options.cpu_affinity.size(), 2U);
    EXPECT_EQ(options.cpu_affinity[1].lapic_id, 6U);
    EXPECT_EQ(options.cpu_affinity[1].host_cpu, 3U);
    EXPECT_EQ(options.cpu_affinity[1].acrn_pcpu, 3U);
    EXPECT_EQ(options.huge_pages, HugePages::never);
    EXPECT_EQ(options.hypervisor, Hypervisor::kvm);
    EXPECT_EQ(options.kernel, "/bzImage");
    EXPECT_EQ(options.ramdisk, "/initrd");
    EXPECT_EQ(options.bootargs, "quiet");
    ASSERT_EQ(options.slots.size(), 2U);
    EXPECT_EQ(options.slots[1].slot, 1);
    EXPECT_EQ(options.slots[1].device, "lpc");
    ASSERT_EQ(options.serial_ports.size(), 2U);
    EXPECT_EQ(options.serial_ports[0].backend, "stdio");
    EXPECT_EQ(options.serial_ports[1].io_base, 0x8000);
    EXPECT_EQ(options.serial_ports[1].irq, 11);
    EXPECT_TRUE(options.windows && options.virtio_msi_only && options.debug_exit);
    EXPECT_TRUE(options.realtime && options.lapic_passthrough);
    EXPECT_EQ(options.virtio_poll_ns, 1000U);
    ASSERT_TRUE(options.interrupt_monitor);
    EXPECT_EQ(options.interrupt_monitor->duration_ms, 4U);
    EXPECT_EQ(options.command_socket, "/s");
    EXPECT_EQ(options.grace_s, 7U);
    EXPECT_EQ(options.on_crash, machine::OnCrash::exit);
    EXPECT_EQ(options.exit_codes, ExitCodes::distinct);
    EXPECT_EQ(options.logger.console, base::LogLevel::error);
    EXPECT_EQ(options.logger.disk, base::LogLevel::debug);
    EXPECT_EQ(options.io_trace, "/t");
}

TEST(RunOptions, StartFromTheDocumentedDefaults) {
    const VmOptions options = read_with({}).options();
    EXPECT_EQ(options.memory_size, std::uint64_t{256} << 20);
    EXPECT_EQ(options.vcpu_count, 1U);
    EXPECT_TRUE(options.cpu_affinity.empty());
    EXPECT_EQ(options.exit_codes, ExitCodes::acrn);
    EXPECT_EQ(options.grace_s, 60U);
    EXPECT_EQ(options.on_crash, machine::OnCrash::reset);
    EXPECT_EQ(options.logger.console, base::LogLevel::notice);
    EXPECT_FALSE(options.logger.disk || options.logger.kmsg);
}

// Command lines of acrn.md 5.2. What they may end with is only that a device is not there yet.
constexpr std::string_view replayed[] = {
    // ACRN's configuration tool, a standard and a real-time launch script.
    "--windows --cpu_affinity 0,2 -m 4096M --ovmf /OVMF.fd -s 1:0,lpc -l com1,stdio "
    "-s 0:0,hostbridge -s 2,ivshmem,dm:/shm_region_0,2 -s 3,uart,vuart_idx:1 "
    "-s 4,xhci,1-2,2-2 -s 5,virtio-input,/dev/input/event3,serial -s "
    "6,virtio-console,@stdio:stdio_port -s 7,virtio-net,tap=tap0,mac_seed=vm1 -s "
    "8,virtio-blk,/vm.img -s 2:1,virtio-gpu,geometry=fullscreen -s 10,vhost-vsock,cid=5 -s "
    "11,passthru,00/14/0 --intr_monitor 10000,10,1,100 POST_STD_VM1",
    "--cpu_affinity 0,2 -m 1024M --rtvm --lapic_pt --virtio_poll 1000000 -k /bzImage -B "
    "console=hvc0 -s 0:0,hostbridge -s 3,virtio-blk,/rt.img -s 4,virtio-console,@stdio:p --ssram "
    "L3,vcpu=all,size=2M --logger_setting console,level=4;kmsg,level=3;disk,level=5 POST_RT_VM1",
    // Kata.
    "-A -m 2048M -s 0:0,hostbridge -s 1:0,lpc -lcom1,stdio -s 3,virtio-blk,/kata.img -s "
    "4,virtio-console,@socket:console0=/run/console.sock -s 5,virtio-net,tap0,mac=00:16:3e:0:0:1 "
    "-s 6,vhost-vsock,cid=77 --cpu_affinity 0 -k /vmlinuz -B root=/dev/vda sandbox-1",
    // acrn-libvirt.
    "-A -m 1024M -s 0:0,hostbridge -s 1:0,lpc -s 2:0,virtio-net,tap0,mac=00:16:3e:0:0:1 -s "
    "3:0,ahci,hd:/d.img,cd:/c.iso -s 4:0,xhci,tablet -s 5:0,virtio-blk,/d2.img -l com1,/dev/pts/2 "
    "-k /bzImage domain1",
    // acrn-unit-test, with the -U of older releases.
    "-A -m 1024M --debugexit -E /unit.flat -s 0:0,hostbridge -s 1:0,lpc -l com1,stdio -U "
    "d2795438-25d6-11e8-864e-cb7a18b34643 unit",
};

TEST(RunOptions, TakeTheCommandLinesOfAcrnsTools) {
    for (const std::string_view line : replayed) {
        const Outcome outcome = read(words_of(line));
        EXPECT_FALSE(outcome.options().name.empty()) << line;
        for (const std::string& error : outcome.errors) {
            EXPECT_THAT(error, HasSubstr("is not part of this build")) << line;
        }
    }
    EXPECT_THAT(read(words_of(replayed[4])).errors, IsEmpty());
    const VmOptions kata = read(words_of(replayed[2])).options();
    ASSERT_EQ(kata.slots.size(), 6U);
    EXPECT_EQ(kata.slots[4].options, "tap0,mac=00:16:3e:0:0:1");
    EXPECT_EQ(kata.bootargs, "root=/dev/vda");
}

TEST(RunOptions, ABareSsramOfTheConfigurationToolSwallowsNothing) {
    const Outcome outcome = read_with({"--ssram", "--rtvm"});
    EXPECT_TRUE(outcome.options().realtime);
    EXPECT_THAT(outcome.errors, ElementsAre(HasSubstr("--ssram needs a value")));
}

TEST(RunOptions, NameTheMissingDeviceAndWhatExists) {
    const Outcome outcome = read_with({"-s", "3,virtio-gpu,/d", "-s", "4,hostbrige"});
    ASSERT_EQ(outcome.errors.size(), 2U);
    EXPECT_THAT(outcome.errors[0],
                AllOf(HasSubstr("'virtio-gpu'"), HasSubstr("hostbridge, ivshmem, lpc")));
    EXPECT_THAT(outcome.errors[1], HasSubstr("did you mean 'hostbridge'?"));
    EXPECT_EQ(outcome.exit_code, 1);
}

TEST(RunOptions, IgnoreObsoleteDevicesInsteadOfEnding) {
    const Outcome outcome = read_with({"-s", "3,pci-gvt,64 448 8", "-s", "4,npk"});
    EXPECT_THAT(outcome.errors, IsEmpty());
    EXPECT_EQ(outcome.warnings.size(), 2U);
    EXPECT_EQ(outcome.options().slots.size(), 2U);
}

TEST(RunOptions, FindWhatIsWrongWithPassedThroughDevices) {
    EXPECT_THAT(read_with({"-s", "5,passthru"}).errors,
                ElementsAre(HasSubstr("'5:0,passthru': '' is no PCI device")));
    EXPECT_THAT(read_with({"-s", "5,passthru,00/20/0", "-s", "6,passthru,00/02/0,irq=256"}).errors,
                ElementsAre(HasSubstr("'00/20/0' is no PCI device"),
                            HasSubstr("'irq=256': an interrupt from 0 to 255 is expected")));
    EXPECT_THAT(read_with({"-s", "5,passthru,00/02/0", "-s", "6,passthru,0000:00:02.0"}).errors,
                ElementsAre(HasSubstr("'6:0,passthru': 0000:00:02.0 is asked for twice")));
    EXPECT_THAT(read_with({"-s", "5,passthru,model:none"}).errors,
                ElementsAre(HasSubstr("there is no model 'none'")));
    EXPECT_THAT(read_with({"-s", "5,passthru,model:i225", "-s", "6,passthru,model:i225"}).errors,
                IsEmpty());
}

TEST(RunOptions, FindPlacesTakenTwiceHiddenOrOnNoBus) {
    EXPECT_THAT(read_with({"-s", "1,amd_hostbridge"}).errors,
                ElementsAre(HasSubstr("'1:0,lpc': the place is taken by 'amd_hostbridge'")));
    EXPECT_THAT(read_with({"-s", "5:1,amd_hostbridge"}).errors,
                ElementsAre(HasSubstr("slot 5 has no function 0")));
    EXPECT_THAT(read_with({"-s", "1:5:0,amd_hostbridge"}).errors,
                ElementsAre(HasSubstr("there is no bus 1")));
    EXPECT_THAT(read_with({"-s", "5,lpc"}).errors, ElementsAre(HasSubstr("one lpc device")));
    EXPECT_THAT(read_with({"-s", "5,hostbridge,x"}).errors,
                ElementsAre(HasSubstr("'hostbridge' takes no options, but has 'x'")));
}

TEST(RunOptions, CheckSerialPortsTogether) {
    EXPECT_THAT(read_with({"-l", "com1", "-l", "com1,pty"}).errors,
                ElementsAre("option -l/--lpc 'com1': the port is there already"));
    EXPECT_THAT(read_with({"-l", "com1,stdio", "-l", "com2,stdio"}).errors,
                ElementsAre(HasSubstr("2 ports want stdio")));
    const Outcome bogus = read_with({"-l", "com1,bogus:1"});
    EXPECT_THAT(bogus.errors, ElementsAre("option -l/--lpc 'com1': 'bogus:1' is no back end"));
    EXPECT_EQ(bogus.exit_code, 64);
    const Outcome no_lpc = read({"-k", "/k", "-l", "com1", "vm"});
    EXPECT_THAT(no_lpc.errors, ElementsAre(HasSubstr("add '-s 1:0,lpc'")));
}

TEST(RunOptions, WarnWhereTheGuestHasNoConsole) {
    EXPECT_THAT(read({"-k", "/k", "vm"}).warnings, ElementsAre(HasSubstr("-l com1,stdio")));
    EXPECT_THAT(read_with({}).warnings, IsEmpty());
}

TEST(RunOptions, CheckTheProcessorsAgainstTheHost) {
    EXPECT_THAT(read_with({"--cpu_affinity", "0,63"}).errors,
                ElementsAre("option --cpu_affinity: no processor has the local APIC id 63: this "
                            "host has 0, 2, 4, 6"));
    EXPECT_THAT(read_with({"--cpu_affinity", "4"}).errors, ElementsAre(HasSubstr("is offline")));
    EXPECT_THAT(read_with({"--cpu_affinity", "0,2", "--cpus", "3"}).errors,
                ElementsAre(HasSubstr("--cpus 3 does not fit to --cpu_affinity, which names 2")));
    const Outcome floating = read_with({"--cpus", "16"});
    EXPECT_EQ(floating.options().vcpu_count, 16U);
    EXPECT_TRUE(floating.options().cpu_affinity.empty());
}

TEST(RunOptions, WantOneNameOfBearableLength) {
    EXPECT_THAT(read({"-k", "/k"}).errors, ElementsAre(HasSubstr("name of the virtual machine")));
    EXPECT_THAT(read({"-k", "/k", "a", "b"}).errors,
                ElementsAre(HasSubstr("'b' is a second name")));
    EXPECT_THAT(read({"-k", "/k", "123456789012345"}).errors, IsEmpty());
    EXPECT_THAT(read({"-k", "/k", "1234567890123456"}).errors,
                ElementsAre(HasSubstr("has 16 characters: 1 to 15")));
    EXPECT_THAT(read({"-k", "/k", "../x"}).errors, ElementsAre(HasSubstr("slashes")));
    EXPECT_THAT(read({"-k", "/k", ""}).errors,
                ElementsAre(HasSubstr("name of the virtual machine")));
    EXPECT_EQ(read({"-k", "/k"}).exit_code, 1);
}

TEST(RunOptions, WantSomethingToBoot) {
    EXPECT_THAT(read({"vm"}).errors, ElementsAre(HasSubstr("nothing to boot")));
    EXPECT_THAT(read({"-E", "/e", "-r", "/r", "vm"}).warnings,
                Contains(HasSubstr("no effect without -k")));
}

TEST(RunOptions, LimitBootargsToWhatLinuxTakes) {
    EXPECT_THAT(read_with({"-B", std::string(2047, 'x')}).errors, IsEmpty());
    const Outcome outcome = read_with({"-B", std::string(2048, 'x')});
    EXPECT_THAT(outcome.errors, ElementsAre(HasSubstr("2048 bytes are too many: at most 2047")));
    EXPECT_EQ(outcome.exit_code, 1);
}

TEST(RunOptions, TheFirstProblemOnTheCommandLineGivesTheExitCode) {
    EXPECT_EQ(read({"-k", "/missing", "-m", "1", "-s", "x", "vm"}).exit_code, 10);
    EXPECT_EQ(read({"-m", "1", "-k", "/missing", "-s", "x", "vm"}).exit_code, 64);
    EXPECT_EQ(read({"-s", "x", "-m", "1", "-k", "/missing", "vm"}).exit_code, 1);
    EXPECT_EQ(read({"--bogus", "-r", "/missing", "vm"}).exit_code, 1);
    EXPECT_EQ(read({"-r", "/missing", "--bogus", "vm"}).exit_code, 11);
    EXPECT_EQ(read({"-r", "/missing", "--bogus", "-m1", "vm"}).errors.size(), 4U);
}

TEST(RunOptions, TheLastOfARepeatedOptionHolds) {
    EXPECT_EQ(read_with({"-m", "512M", "--memsize=1G"}).options().memory_size,
              std::uint64_t{1} << 30);
}

TEST(RunOptions, SayOnceForEachOptionOfAcrnsWhatDoesNotHappenOnKvm) {
    const Outcome outcome = read_with({"--lapic_pt", "--lapic_pt"});
    EXPECT_THAT(outcome.errors, IsEmpty());
    EXPECT_THAT(outcome.warnings,
                ElementsAre("option --lapic_pt has no effect on KVM: the guest's local APIC is "
                            "always virtual"));
}

TEST(RunOptions, AskForProcessorsOfItsOwnForARealTimeGuestOnKvm) {
    EXPECT_THAT(read_with({"--rtvm"}).warnings, ElementsAre(HasSubstr("--cpu_affinity")));
    EXPECT_TRUE(read_with({"--rtvm"}).options().realtime);
    EXPECT_THAT(read_with({"--rtvm", "--cpu_affinity", "0"}).warnings, IsEmpty());
    EXPECT_THAT(read_with({"--rtvm", "--hypervisor", "acrn"}).warnings, IsEmpty());
}

TEST(RunOptions, SayThatNoInterruptIsMonitoredOnKvmWithoutAPassedThroughDevice) {
    const char* const monitor = "--intr_monitor=10000,10,1,100";
    EXPECT_THAT(read_with({monitor}).warnings, ElementsAre(HasSubstr("--intr_monitor")));
    EXPECT_THAT(read_with({monitor, "--hypervisor=acrn"}).warnings, IsEmpty());
    EXPECT_THAT(read_with({monitor, "-s", "5,passthru,00/14/0"}).warnings, IsEmpty());
}

TEST(RunOptions, TakeOptionsOfAcrnsSilentlyOnAcrnWhereverTheHypervisorIsNamed) {
    const Outcome outcome = read_with({"--rtvm", "--lapic_pt", "--hypervisor", "acrn"});
    EXPECT_THAT(outcome.errors, IsEmpty());
    EXPECT_THAT(outcome.warnings, IsEmpty());
    EXPECT_TRUE(outcome.options().realtime && outcome.options().lapic_passthrough);
}

TEST(RunOptions, PlaceTheManagersSocketWhereAcrnctlLooksOnlyForAcrnAndAcrnDm) {
    const auto place = [](const std::string& wish, bool as_acrn_dm, Hypervisor hypervisor) {
        VmOptions options;
        options.hypervisor = hypervisor;
        place_manager_socket(wish, as_acrn_dm, options);
        return fmt::format("{}{}", options.manager_directory,
                           options.manager_required ? " required" : "");
    };
    EXPECT_EQ(place("", false, Hypervisor::kvm), "");
    EXPECT_EQ(place("", true, Hypervisor::kvm), "/run/acrn/mngr");
    EXPECT_EQ(place("", false, Hypervisor::acrn), "/run/acrn/mngr");
    EXPECT_EQ(place("off", true, Hypervisor::acrn), "");
    EXPECT_EQ(place("/tmp/m", false, Hypervisor::kvm), "/tmp/m required");
}

TEST(RunOptions, TakeAcrnWithItsDevice) {
    const Outcome outcome = read_with({"--hypervisor", "acrn", "--hsm", "/dev/acrn_hsm"});
    EXPECT_THAT(outcome.errors, IsEmpty());
    EXPECT_EQ(outcome.options().hypervisor, Hypervisor::acrn);
    EXPECT_EQ(outcome.options().hsm_device, "/dev/acrn_hsm");
}

TEST(RunOptions, RefuseAServiceModuleForKvm) {
    const Outcome outcome = read_with({"--hsm", "/dev/acrn_hsm"});
    EXPECT_THAT(outcome.errors, ElementsAre(HasSubstr("needs '--hypervisor acrn'")));
    EXPECT_EQ(outcome.exit_code, 64);
}

TEST(RunOptions, HelpGoesBeforeVersionAndVersionBeforeCheck) {
    EXPECT_EQ(read({"-v", "-h"}).request.action, RunAction::help);
    EXPECT_EQ(read({"-h", "-v"}).request.action, RunAction::help);
    EXPECT_EQ(read({"--check", "-v"}).request.action, RunAction::version);
    EXPECT_EQ(read({"-v", "--check"}).request.action, RunAction::version);
    EXPECT_EQ(read({"--check"}).request.action, RunAction::check);
}

}  // namespace
}  // namespace cupule::app
