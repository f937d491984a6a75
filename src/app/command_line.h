#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/option_schema.h"
#include "app/problem.h"

namespace cupule::app {

/// Hears of each option in the order of the command line; `value` is empty for a flag.
using OptionHandler = std::function<void(const OptionInfo& option, const std::string& value)>;

/// Takes the words behind the command apart as getopt_long(3) does: `-m 1G`, `-m1G`, clusters of
/// flags, `--memsize 1G`, `--memsize=1G`, unambiguous beginnings of long names, options and
/// positional words in any order, `--` before words that only look like options. Differs on
/// purpose: --ssram does not take a word that begins with `-` as its value. Unknown options are
/// problems that suggest the nearest one; reading goes on behind them. Returns the positional
/// words.
std::vector<std::string> read_command_line(std::span<const std::string_view> words,
                                           const OptionHandler& handler, Problems& problems);

}  // namespace cupule::app
