#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cupule::app {

/// The parts of `text` between separators; always at least one, empty ones included.
std::vector<std::string_view> split(std::string_view text, char separator);
std::vector<std::string_view> split_any(std::string_view text, std::string_view separators);

/// What stands before and behind the first separator; all and nothing when there is none.
std::pair<std::string_view, std::string_view> cut(std::string_view text, char separator);

/// ASCII only.
std::string to_lower(std::string_view text);

/// "a, b, c".
std::string join(const std::vector<std::string>& parts, std::string_view separator = ", ");

}  // namespace cupule::app
