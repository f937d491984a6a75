#include "app/run_options.h"

#include <algorithm>
#include <set>
#include <utility>

#include "app/command_line.h"
#include "app/files.h"
#include "app/option_values.h"
#include "app/run_checks.h"
#include "backend/byte_channel_factory.h"
#include "base/assert.h"

namespace cupule::app {
namespace {

using base::Result;

/// Turns options into VmOptions, one `apply` for each on the command line.
class Builder {
  public:
    Builder(bool as_acrn_dm, const HostQueries& host, Problems& problems)
        : as_acrn_dm_(as_acrn_dm), host_(host), problems_(problems) {}

    void apply(const OptionInfo& option, const std::string& text) {
        if (option.status == OptionStatus::ignored) {
            problems_.warning("option {} is obsolete and ignored: {}", option_display(option),
                              option.help);
            return;
        }
        const bool known = apply_plain(option, text) || apply_machine(option, text) ||
                           apply_boot(option, text) || apply_device(option, text) ||
                           apply_diagnostics(option, text);
        CUPULE_ASSERT(known);
        if (option.status == OptionStatus::acrn_only) {
            acrn_only_.push_back(&option);
        }
        if (option.status == OptionStatus::planned) {
            problems_.error(exit_failure, "option {}: {} is not part of this build",
                            option_display(option), option.help);
        }
    }

    RunRequest finish(const std::vector<std::string>& positionals) {
        take_name(positionals);
        VmOptions& options = request_.options;
        if (options.realtime) {
            options.lapic_passthrough = true;
        }
        place_manager_socket(manager_directory_, as_acrn_dm_, options);
        if (options.hypervisor != Hypervisor::acrn) {
            for (const OptionInfo* option : acrn_only_) {
                warn_once(*option);
            }
        }
        check_name(options, problems_);
        check_cpus(options, {.count = vcpu_count_, .lapic_ids = lapic_ids_}, host_, problems_);
        check_boot(options, problems_);
        check_slots(options, problems_);
        check_serial_ports(options, host_, problems_);
        check_life_cycle(options, problems_);
        return std::move(request_);
    }

  private:
    /// One line for an option, however often it comes.
    void warn_once(const OptionInfo& option) {
        if (warned_.insert(option.id).second) {
            problems_.warning("option {} has no effect on KVM: {}", option_display(option),
                              option.missing_on_kvm);
        }
    }

    /// Flags and texts that are taken as they are.
    bool apply_plain(const OptionInfo& option, const std::string& text) {
        VmOptions& options = request_.options;
        const std::pair<OptionId, bool*> flags[] = {
            {OptionId::windows, &options.windows},
            {OptionId::virtio_msi, &options.virtio_msi_only},
            {OptionId::enable_trusty, &options.trusty},
            {OptionId::rtvm, &options.realtime},
            {OptionId::lapic_pt, &options.lapic_passthrough},
            {OptionId::debugexit, &options.debug_exit},
        };
        const std::pair<OptionId, std::string*> texts[] = {
            {OptionId::cmd_monitor, &options.command_socket},
            {OptionId::trace_io, &options.io_trace},
            {OptionId::hsm, &options.hsm_device},
        };
        for (const auto& [id, target] : flags) {
            if (id == option.id) {
                *target = true;
                return true;
            }
        }
        for (const auto& [id, target] : texts) {
            if (id == option.id) {
                set(option, text, *target, not_empty(text));
                return true;
            }
        }
        return false;
    }

    bool apply_machine(const OptionInfo& option, const std::string& text) {
        VmOptions& options = request_.options;
        switch (option.id) {
            case OptionId::memsize:
                set(option, text, options.memory_size, parse_memory_size(text));
                return true;
            case OptionId::cpu_affinity:
                set(option, text, lapic_ids_, parse_lapic_ids(text));
                return true;
            case OptionId::cpus:
                set(option, text, vcpu_count_, parse_number(text, 1, vcpu_count_max));
                return true;
            case OptionId::huge_pages:
                choose(option, text, options.huge_pages,
                       {{"auto", HugePages::automatic}, {"never", HugePages::never}});
                return true;
            case OptionId::hypervisor:
                choose(option, text, options.hypervisor,
                       {{"kvm", Hypervisor::kvm}, {"acrn", Hypervisor::acrn}});
                return true;
            case OptionId::virtio_poll:
                set(option, text, options.virtio_poll_ns, parse_number(text, 1, 10'000'000));
                return true;
            case OptionId::intr_monitor:
                set(option, text, options.interrupt_monitor, parse_interrupt_monitor(text));
                return true;
            case OptionId::stats:
                set(option, text, options.statistics_period_s, parse_number(text, 0, 86'400));
                return true;
            case OptionId::grace:
                set(option, text, options.grace_s, parse_number(text, 0, 86'400));
                return true;
            case OptionId::on_crash:
                choose(option, text, options.on_crash,
                       {{"reset", machine::OnCrash::reset}, {"exit", machine::OnCrash::exit}});
                return true;
            case OptionId::exit_codes:
                choose(option, text, options.exit_codes,
                       {{"acrn", ExitCodes::acrn}, {"distinct", ExitCodes::distinct}});
                return true;
            case OptionId::mngr:
                set(option, text, manager_directory_, not_empty(text));
                return true;
            default:
                return false;
        }
    }

    bool apply_boot(const OptionInfo& option, const std::string& text) {
        VmOptions& options = request_.options;
        switch (option.id) {
            case OptionId::kernel:
                take_file(option, text, options.kernel, exit_kernel_file);
                return true;
            case OptionId::ramdisk:
                take_file(option, text, options.ramdisk, exit_ramdisk_file);
                return true;
            case OptionId::elf_file:
                take_file(option, text, options.elf_file, exit_failure);
                return true;
            case OptionId::bootargs:
                if (text.size() > bootargs_length_max) {
                    // Not the whole text: it would fill the terminal.
                    problems_.error(exit_failure,
                                    "option {}: {} bytes are too many: at most {} are allowed",
                                    option_display(option), text.size(), bootargs_length_max);
                    return true;
                }
                options.bootargs = text;
                return true;
            case OptionId::ovmf:
                set(option, text, options.firmware, parse_firmware(text));
                return true;
            default:
                return false;
        }
    }

    bool apply_device(const OptionInfo& option, const std::string& text) {
        VmOptions& options = request_.options;
        switch (option.id) {
            case OptionId::pci_slot:
                append(option, text, options.slots, parse_slot(text));
                return true;
            case OptionId::lpc:
                append(option, text, options.serial_ports, parse_serial(text));
                return true;
            case OptionId::acpidev_pt:
                append(option, text, options.acpi_passthrough, parse_acpi_device(text));
                return true;
            case OptionId::mmiodev_pt:
                append(option, text, options.mmio_passthrough, parse_mmio_range(text));
                return true;
            case OptionId::vtpm2:
                set(option, text, options.tpm_socket, parse_tpm_socket(text));
                return true;
            case OptionId::ssram:
                set(option, text, options.software_sram, parse_software_sram(text));
                return true;
            default:
                return false;
        }
    }

    bool apply_diagnostics(const OptionInfo& option, const std::string& text) {
        VmOptions& options = request_.options;
        switch (option.id) {
            case OptionId::logger_setting:
                set(option, text, options.logger, parse_logger(text, options.logger));
                return true;
            case OptionId::log_level:
                set(option, text, options.logger.console, parse_log_level(text));
                return true;
            case OptionId::check:
                raise(RunAction::check);
                return true;
            case OptionId::help:
                raise(RunAction::help);
                return true;
            case OptionId::version:
                raise(RunAction::version);
                return true;
            default:
                return false;
        }
    }

    /// Help goes before version, version before check, whatever the order on the command line.
    void raise(RunAction action) {
        constexpr auto rank = [](RunAction a) {
            return a == RunAction::help ? 9 : static_cast<int>(a);
        };
        if (rank(action) > rank(request_.action)) {
            request_.action = action;
        }
    }

    static Result<std::string> not_empty(const std::string& text) {
        if (text.empty()) {
            return base::fail("it is empty");
        }
        return text;
    }

    /// A file that must be there with something in it: acrn-dm looks while it reads the option.
    void take_file(const OptionInfo& option, const std::string& path, std::string& target,
                   int code) {
        target = path;
        const auto size = host_.file_size(path);
        if (!size) {
            problems_.error(code, "option {}: {}", option_display(option), size.error().message);
        } else if (*size == 0) {
            problems_.error(code, "option {}: '{}' is empty", option_display(option), path);
        }
    }

    template <class Target, class Value>
    void set(const OptionInfo& option, const std::string& text, Target& target,
             Result<Value> value) {
        if (value) {
            target = static_cast<Target>(std::move(*value));
        } else {
            report(option, text, value.error().message);
        }
    }

    template <class Value>
    void append(const OptionInfo& option, const std::string& text, std::vector<Value>& target,
                Result<Value> value) {
        if (value) {
            target.push_back(std::move(*value));
        } else {
            report(option, text, value.error().message);
        }
    }

    template <class Value>
    void choose(const OptionInfo& option, const std::string& text, Value& target,
                std::initializer_list<std::pair<std::string_view, Value>> choices) {
        const auto* found =
            std::ranges::find(choices, text, &std::pair<std::string_view, Value>::first);
        if (found != choices.end()) {
            target = found->second;
        } else {
            report(option, text, fmt::format("the choice is {}", option.grammar));
        }
    }

    void report(const OptionInfo& option, const std::string& text, const std::string& message) {
        problems_.error(option.bad_value_exit, "option {} '{}': {}", option_display(option), text,
                        message);
    }

    void take_name(const std::vector<std::string>& positionals) {
        if (request_.action == RunAction::help || request_.action == RunAction::version) {
            return;
        }
        if (positionals.empty() || positionals[0].empty()) {
            problems_.error(exit_failure,
                            "the name of the virtual machine is missing: it is the last word");
            return;
        }
        if (positionals.size() > 1) {
            problems_.error(exit_failure,
                            "'{}' is a second name behind '{}': a virtual machine has one; is a "
                            "dash or are quotes missing?",
                            positionals[1], positionals[0]);
        }
        request_.options.name = positionals[0];
    }

    const bool as_acrn_dm_;
    const HostQueries& host_;
    Problems& problems_;
    RunRequest request_;
    std::string manager_directory_;
    std::optional<unsigned> vcpu_count_;
    std::vector<std::uint32_t> lapic_ids_;
    /// Those that warn on KVM; which hypervisor it is may come behind them.
    std::vector<const OptionInfo*> acrn_only_;
    std::set<OptionId> warned_;
};

}  // namespace

HostQueries host_queries() {
    return {.file_size = readable_file_size,
            .cpus = HostCpus::read,
            .check_channel = [](std::string_view spec) -> Result<void> {
                CUPULE_TRY(backend::parse_channel(spec));
                return {};
            }};
}

RunRequest read_run_options(std::span<const std::string_view> words, const HostQueries& host,
                            Problems& problems, bool as_acrn_dm) {
    Builder builder(as_acrn_dm, host, problems);
    const auto apply = [&builder](const OptionInfo& option, const std::string& value) {
        builder.apply(option, value);
    };
    return builder.finish(read_command_line(words, apply, problems));
}

}  // namespace cupule::app
