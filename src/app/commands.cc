#include "app/commands.h"

#include <algorithm>
#include <array>

#include "app/exit_codes.h"
#include "app/help.h"
#include "app/nearest.h"
#include "app/passthrough_command.h"
#include "app/probe/probe.h"
#include "app/problem.h"
#include "app/serve_options.h"
#include "app/version.h"

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

int print_command(std::string_view command, Words words, std::span<const Form> forms,
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

constexpr Form probe_forms[] = {{"", probe_text}, {"--json", probe_json}};
constexpr Form device_forms[] = {
    {"", devices_text}, {"--json", devices_json}, {"--markdown", devices_markdown}};
constexpr Form help_forms[] = {{"", commands_help},
                               {"--help", commands_help},
                               {"-h", commands_help},
                               {"--markdown", command_line_markdown}};
constexpr Form version_forms[] = {{"", version_line}};

constexpr auto command_names = std::to_array<std::string_view>(
    {"run", "serve", "hsm", "probe", "devices", "passthrough", "version", "help"});

/// A name that can stand below /dev and in a kernel message.
bool is_device_name(std::string_view name) {
    constexpr std::size_t length_max = 31;
    return !name.empty() && name.size() <= length_max && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-';
    });
}

int hsm_command(Words words, const CommandContext& context) {
    HsmOptions options;
    if (!words.empty()) {
        if (words.size() != 2 || words[0] != "--device") {
            complain(context, "hsm: it takes --device NAME and nothing else");
            return exit_failure;
        }
        options.device = words[1];
    }
    if (!is_device_name(options.device)) {
        complain(context, fmt::format("hsm: option --device '{}': a name of 1 to 31 letters, "
                                      "digits, '_' and '-' is wanted, such as acrn_hsm",
                                      options.device));
        return exit_bad_value;
    }
    return context.run_hsm(options);
}

}  // namespace

int run_program(Words words, const CommandContext& context) {
    const std::string_view program = words.empty() ? std::string_view{} : words[0];
    const Words rest = words.empty() ? words : words.subspan(1);
    if (program.substr(program.rfind('/') + 1) == "acrn-dm") {
        return run_command(rest, context, true);
    }
    if (rest.empty()) {
        complain(context, "a command is missing");
        context.complain(commands_help());
        return exit_failure;
    }
    const std::string_view command = rest[0];
    const Words arguments = rest.subspan(1);
    const bool wants_help =
        arguments.size() == 1 && (arguments[0] == "--help" || arguments[0] == "-h");
    if (const auto text = wants_help ? command_help(command) : std::nullopt;
        text && command != "run" && command != "serve" && command != "help") {
        context.print(*text);
        return exit_ok;
    }
    if (command == "run") {
        return run_command(arguments, context, false);
    }
    if (command == "hsm") {
        return hsm_command(arguments, context);
    }
    if (command == "serve") {
        return serve_command(arguments, context);
    }
    if (command == "probe") {
        return print_command(command, arguments, probe_forms, context);
    }
    if (command == "passthrough") {
        return passthrough_command(arguments, context);
    }
    if (command == "devices") {
        return print_command(command, arguments, device_forms, context);
    }
    if (command == "help" || command == "--help" || command == "-h") {
        return print_command(command, arguments, help_forms, context);
    }
    if (command == "version" || command == "--version" || command == "-v") {
        return print_command(command, arguments, version_forms, context);
    }
    complain(context, fmt::format("unknown command '{}'{}; `cupule help` lists the commands",
                                  command, suggestion(command, command_names)));
    return exit_failure;
}

}  // namespace cupule::app
