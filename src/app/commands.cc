#include "app/commands.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <optional>
#include <vector>

#include "app/exit_codes.h"
#include "app/help.h"
#include "app/nearest.h"
#include "app/passthrough_command.h"
#include "app/probe/probe.h"
#include "app/problem.h"
#include "app/serve_options.h"
#include "app/version.h"
#include "base/text.h"

namespace cupule::app {
namespace {

using Words = std::span<const std::string_view>;

void complain(const CommandContext& context, std::string_view message) {
    context.complain(fmt::format("cupule: {}\n", message));
}

int run_command(Words words, const CommandContext& context, bool as_acrn_dm) {
    Problems problems;
    const RunRequest request = read_run_options(words, context.host, problems, as_acrn_dm);
    if (request.action == RunAction::help) {
        context.print(run_help());
        return exit_ok;
    }
    if (request.action == RunAction::version) {
        context.print(acrn_version_text() + "\n");
        return exit_ok;
    }
    for (const std::string& warning : problems.warnings()) {
        complain(context, "warning: " + warning);
    }
    for (const Problem& problem : problems.errors()) {
        complain(context, problem.message);
    }
    if (!problems.errors().empty() || request.action == RunAction::check) {
        return problems.exit_code();
    }
    return context.run_machine(request.options);
}

/// A command that prints a text, in another form for each flag it takes.
struct Form {
    std::string_view flag;
    std::string (*text)();
};

int print_form(std::string_view command, std::span<const Form> forms, Words words,
               const CommandContext& context) {
    const Form* chosen = &forms[0];
    for (const std::string_view word : words) {
        const Form* found = nullptr;
        for (const Form& form : forms) {
            found = form.flag == word ? &form : found;
        }
        if (found == nullptr) {
            std::string flags;
            for (const Form& form : forms) {
                flags += form.flag.empty() ? "" : fmt::format(" {}", form.flag);
            }
            complain(context, fmt::format("{}: '{}' is not known; it takes{}", command, word,
                                          flags.empty() ? " nothing" : flags));
            return exit_failure;
        }
        chosen = found;
    }
    context.print(chosen->text());
    return exit_ok;
}

std::string version_line() {
    return version_text() + "\n";
}

int run(Words words, const CommandContext& context) {
    return run_command(words, context, false);
}

int probe_command(Words words, const CommandContext& context) {
    constexpr Form forms[] = {{"", probe_text}, {"--json", probe_json}};
    return print_form("probe", forms, words, context);
}

int devices_command(Words words, const CommandContext& context) {
    constexpr Form forms[] = {
        {"", devices_text}, {"--json", devices_json}, {"--markdown", devices_markdown}};
    return print_form("devices", forms, words, context);
}

int version_command(Words words, const CommandContext& context) {
    constexpr Form forms[] = {{"", version_line}};
    return print_form("version", forms, words, context);
}

int help_command(Words words, const CommandContext& context) {
    constexpr Form forms[] = {{"", commands_help},
                              {"--help", commands_help},
                              {"-h", commands_help},
                              {"--markdown", command_line_markdown}};
    return print_form("help", forms, words, context);
}

/// A name that can stand below /dev and in a kernel message.
bool is_device_name(std::string_view name) {
    constexpr std::size_t length_max = 31;
    return !name.empty() && name.size() <= length_max && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-';
    });
}

/// `hv:/NAME,SIZE_MB`
std::optional<HsmOptions::SharedMemory> parse_shared_memory(std::string_view text) {
    constexpr std::size_t name_max = 31;
    const auto [name, number] = base::cut(text, ',');
    const auto size = base::to_number<std::uint32_t>(number);
    if (!name.starts_with("hv:/") || name.size() > name_max || !size || *size < 2 || *size > 512 ||
        !std::has_single_bit(*size)) {
        return std::nullopt;
    }
    return HsmOptions::SharedMemory{.name = std::string(name), .size_mb = *size};
}

int hsm_command(Words words, const CommandContext& context) {
    HsmOptions options;
    for (std::size_t i = 0; i < words.size(); i += 2) {
        const bool has_value = i + 1 < words.size();
        if (has_value && words[i] == "--device") {
            options.device = words[i + 1];
        } else if (has_value && words[i] == "--shared-memory") {
            auto memory = parse_shared_memory(words[i + 1]);
            if (!memory) {
                complain(context,
                         fmt::format("hsm: option --shared-memory '{}': hv:/NAME,SIZE_MB is "
                                     "wanted, a name of up to 31 characters and a power of two "
                                     "from 2 to 512",
                                     words[i + 1]));
                return exit_bad_value;
            }
            options.shared_memory.push_back(std::move(*memory));
        } else {
            complain(context,
                     "hsm: it takes --device NAME, --shared-memory hv:/NAME,SIZE_MB and nothing "
                     "else");
            return exit_failure;
        }
    }
    if (!is_device_name(options.device)) {
        complain(context, fmt::format("hsm: option --device '{}': a name of 1 to 31 letters, "
                                      "digits, '_' and '-' is wanted, such as acrn_hsm",
                                      options.device));
        return exit_bad_value;
    }
    return context.run_hsm(options);
}

constexpr Command command_table[] = {
    {"run", "[OPTION...] NAME", "run a virtual machine; `cupule run --help` lists the options",
     true, run},
    {"serve", "DEVICE OPTIONS --socket PATH",
     "a virtio-blk or virtio-net device for other programs (serve --help)", true, serve_command},
    {"hsm", "[--device NAME] [--shared-memory hv:/NAME,SIZE_MB]...",
     "offer ACRN's service module as /dev/NAME (acrn_hsm), on KVM", false, hsm_command},
    {"probe", "[--json]", "what this host can do, and how to mend what it cannot", false,
     probe_command},
    {"devices", "[--json|--markdown]", "the devices that `cupule run -s` can name", false,
     devices_command},
    {"passthrough", "list | bind DEVICE... | unbind DEVICE...",
     "the host's PCI devices; give them to vfio-pci and back", false, passthrough_command},
    {"version", "", "the version", false, version_command},
    {"help", "[--markdown]", "this; with --markdown all options as docs/command_line.md", true,
     help_command},
};

/// Commands as flags, as many programs take them.
std::string_view without_dashes(std::string_view word) {
    if (word == "--help" || word == "-h") {
        return "help";
    }
    return word == "--version" || word == "-v" ? "version" : word;
}

}  // namespace

std::span<const Command> commands() {
    return command_table;
}

int run_program(Words words, const CommandContext& context) {
    const std::string_view program = words.empty() ? std::string_view{} : words[0];
    const Words rest = words.empty() ? words : words.subspan(1);
    if (base::after_last(program, '/') == "acrn-dm") {
        return run_command(rest, context, true);
    }
    if (rest.empty()) {
        complain(context, "a command is missing");
        context.complain(commands_help());
        return exit_failure;
    }
    const Words arguments = rest.subspan(1);
    const auto* const command =
        std::ranges::find(command_table, without_dashes(rest[0]), &Command::name);
    if (command == std::ranges::end(command_table)) {
        std::vector<std::string_view> names;
        std::ranges::transform(command_table, std::back_inserter(names), &Command::name);
        complain(context, fmt::format("unknown command '{}'{}; `cupule help` lists the commands",
                                      rest[0], suggestion(rest[0], names)));
        return exit_failure;
    }
    const bool wants_help =
        arguments.size() == 1 && (arguments[0] == "--help" || arguments[0] == "-h");
    if (wants_help && !command->has_own_help) {
        context.print(command_help(*command));
        return exit_ok;
    }
    return command->run(arguments, context);
}

}  // namespace cupule::app
