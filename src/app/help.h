#pragma once

#include <string>

namespace cupule::app {

struct Command;

/// `cupule help`: the commands.
std::string commands_help();
/// `cupule COMMAND --help`: how the command is called and what it does.
std::string command_help(const Command& command);
/// `cupule run --help`: the options by group, with grammar, default and meaning.
std::string run_help();
/// `cupule help --markdown`: docs/command_line.md.
std::string command_line_markdown();
/// `cupule devices`, as a table, JSON, or docs/devices.md.
std::string devices_text();
std::string devices_json();
std::string devices_markdown();

}  // namespace cupule::app
