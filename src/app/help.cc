#include "app/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/option_schema.h"
#include "base/text.h"
#include "machine/device_catalogue.h"

namespace cupule::app {
namespace {

using machine::DeviceInfo;
using machine::DeviceStatus;

constexpr std::string_view usage = "cupule run [OPTION...] NAME";

/// Breaks at spaces so that lines have at most `width` characters, each but the first indented.
std::string wrapped(std::string_view text, std::size_t indent, std::size_t width) {
    std::string result;
    std::size_t column = indent;
    for (const std::string_view word : base::split(text, ' ')) {
        if (column > indent && column + 1 + word.size() > width) {
            result += "\n" + std::string(indent, ' ');
            column = indent;
        } else if (column > indent) {
            result += ' ';
            ++column;
        }
        result += word;
        column += word.size();
    }
    return result;
}

/// "-m, --memsize SIZE(K|M|G)".
std::string option_head(const OptionInfo& option) {
    std::string head = option.short_letter != 0 ? fmt::format("-{}, ", option.short_letter) : "";
    head += fmt::format("--{}", option.long_name);
    if (!option.grammar.empty()) {
        head += fmt::format(" {}", option.grammar);
    }
    return head;
}

std::string option_text(const OptionInfo& option) {
    std::string text(option.help);
    if (!option.default_text.empty()) {
        text += fmt::format(" [default: {}]", option.default_text);
    }
    if (option.status == OptionStatus::acrn_only) {
        text += fmt::format(" (no effect on KVM: {})", option.missing_on_kvm);
    }
    if (option.status == OptionStatus::planned) {
        text += " (not part of this build)";
    }
    return text;
}

constexpr OptionGroup groups[] = {
    OptionGroup::machine,    OptionGroup::boot,        OptionGroup::devices, OptionGroup::realtime,
    OptionGroup::life_cycle, OptionGroup::diagnostics, OptionGroup::obsolete};

std::string_view status_word(DeviceStatus status) {
    switch (status) {
        case DeviceStatus::exists:
            return "exists";
        case DeviceStatus::planned:
            return "planned";
        case DeviceStatus::obsolete:
            return "obsolete";
    }
    return "";
}

std::string_view status_word(OptionStatus status) {
    switch (status) {
        case OptionStatus::live:
            return "";
        case OptionStatus::ours:
            return "Cupule only";
        case OptionStatus::acrn_only:
            return "ACRN only";
        case OptionStatus::planned:
            return "not in this build";
        case OptionStatus::ignored:
            return "ignored";
    }
    return "";
}

/// Text for a cell of a Markdown table.
std::string cell(std::string_view text) {
    std::string result;
    for (const char c : text) {
        result += c == '|' ? "\\|" : std::string(1, c);
    }
    return result;
}

/// The same as code; nothing for nothing.
std::string code_cell(std::string_view text) {
    return text.empty() ? "" : fmt::format("`{}`", cell(text));
}

}  // namespace

std::string commands_help() {
    std::string text = "usage: cupule COMMAND [...]\n\n";
    for (const Command& command : commands()) {
        const std::string head = fmt::format("{} {}", command.name, command.grammar);
        // What is too long for the column stands alone.
        text += head.size() <= 21 ? fmt::format("  {:<21} {}\n", head, command.help)
                                  : fmt::format("  {}\n{:<24}{}\n", head, "", command.help);
    }
    return text + "\nEach takes --help. Called by the name acrn-dm the program is `cupule run`.\n";
}

std::string command_help(const Command& command) {
    const std::string blank = command.grammar.empty() ? "" : " ";
    return fmt::format("usage: cupule {}{}{}\n\n{}\n", command.name, blank, command.grammar,
                       command.help);
}

std::string run_help() {
    std::string text = fmt::format("usage: {}\n", usage);
    for (const OptionGroup group : groups) {
        text += fmt::format("\n{}:\n", group_title(group));
        for (const OptionInfo& option : option_schema()) {
            if (option.group == group) {
                text += fmt::format("  {}\n        {}\n", option_head(option),
                                    wrapped(option_text(option), 8, 80));
            }
        }
    }
    return text +
           "\nNAME is the virtual machine's name, 1 to 15 characters. Exit codes: 0 orderly stop,\n"
           "1 failure, 10 kernel file, 11 RAM disk file, 64 bad value of an option.\n";
}

std::string command_line_markdown() {
    std::string text =
        "# The command line\n"
        "\n"
        "<!-- Written by `cupule help --markdown`; a test compares. Change "
        "src/app/option_schema.cc. -->\n"
        "\n" +
        fmt::format("    {}\n", usage) +
        "\n"
        "The options are acrn-dm's, with its grammar: that of getopt_long(3). `-m 1G`, `-m1G`,\n"
        "`--memsize 1G`, `--memsize=1G` and unambiguous beginnings such as `--mem 1G` are the\n"
        "same; flags cluster (`-AY`); options and the name come in any order; `--` ends the\n"
        "options. Where an option is given more than once the last one holds, but for `-s`, `-l`,\n"
        "`--acpidev_pt` and `--mmiodev_pt`, which add up. A symlink named `acrn-dm` is `cupule "
        "run`.\n"
        "\n"
        "NAME has 1 to 15 characters, no slash and no control character.\n"
        "All problems are printed; the first one decides the exit code, as in acrn-dm\n"
        "([exit codes](exit_codes.md)). `--check` does the same and starts nothing.\n";
    for (const OptionGroup group : groups) {
        text += fmt::format(
            "\n## {}\n\n| option | value | default | meaning | |\n|---|---|---|---|---|\n",
            group_title(group));
        for (const OptionInfo& option : option_schema()) {
            if (option.group != group) {
                continue;
            }
            const std::string short_form =
                option.short_letter != 0 ? fmt::format("`-{}` ", option.short_letter) : "";
            text += fmt::format("| {}`--{}` | {} | {} | {} | {} |\n", short_form, option.long_name,
                                code_cell(option.grammar), cell(option.default_text),
                                cell(option.help), status_word(option.status));
        }
    }
    text += "\n## On KVM taken with a warning, without effect\n\n";
    for (const OptionInfo& option : option_schema()) {
        if (option.status == OptionStatus::acrn_only) {
            text += fmt::format("- `--{}`: {}.\n", option.long_name, option.missing_on_kvm);
        }
    }
    text += "\n## Where this differs from acrn-dm on purpose\n\n";
    for (const OptionInfo& option : option_schema()) {
        if (!option.differs.empty()) {
            text += fmt::format("- `--{}`: {}.\n", option.long_name, option.differs);
        }
    }
    text +=
        "- The name: a slash or a control character is an error, for the name is part of file "
        "names.\n"
        "- Reading goes on behind an error, so that all problems are seen at once.\n"
        "- An unknown option suggests the nearest one.\n"
        "- `/sys/firmware/acpi/tables/APIC` need not be readable: without it /proc/cpuinfo tells "
        "the local APIC ids.\n";
    return text;
}

std::string devices_text() {
    std::string text =
        fmt::format("{:<20}{:<11}{:<10}{}\n", "DEVICE", "IDS", "STATUS", "DESCRIPTION, OPTIONS");
    for (const DeviceInfo& device : machine::device_catalogue()) {
        text += fmt::format("{:<20}{:<11}{:<10}{}\n", device.name, device.pci_ids,
                            status_word(device.status), device.description);
        if (!device.options.empty()) {
            text += fmt::format("{:<41}{}\n", "", device.options);
        }
    }
    return text;
}

std::string devices_json() {
    auto list = nlohmann::ordered_json::array();
    for (const DeviceInfo& device : machine::device_catalogue()) {
        list.push_back({{"name", device.name},
                        {"ids", device.pci_ids},
                        {"status", status_word(device.status)},
                        {"options", device.options},
                        {"description", device.description}});
    }
    return list.dump(2) + "\n";
}

std::string devices_markdown() {
    std::string text =
        "# The devices\n"
        "\n"
        "<!-- Written by `cupule devices --markdown`; a test compares. Change "
        "src/machine/device_catalogue.cc. -->\n"
        "\n"
        "What `-s [BUS:]SLOT[:FUNC],DEVICE[,OPTIONS]` can name. A planned device is one of\n"
        "acrn-dm's that this build lacks: naming it is an error. An obsolete one is ignored with\n"
        "a warning.\n"
        "\n"
        "| device | ids | options | what it is | |\n"
        "|---|---|---|---|---|\n";
    for (const DeviceInfo& device : machine::device_catalogue()) {
        text += fmt::format("| `{}` | {} | {} | {} | {} |\n", device.name, device.pci_ids,
                            code_cell(device.options), cell(device.description),
                            status_word(device.status));
    }
    return text;
}

}  // namespace cupule::app
