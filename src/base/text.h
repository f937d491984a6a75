#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Words and numbers out of text: options, lines of /proc and /sys, messages.
namespace cupule::base {

/// The parts of `text` between separators; always at least one, empty ones included.
std::vector<std::string_view> split(std::string_view text, char separator);
std::vector<std::string_view> split_any(std::string_view text, std::string_view separators);

/// What stands before and behind the first separator; all and nothing when there is none.
std::pair<std::string_view, std::string_view> cut(std::string_view text, char separator);

/// What stands behind the last separator; all when there is none.
std::string_view after_last(std::string_view text, char separator);

/// Takes what `cut` calls the first part, and the separator, off the front of `text`.
std::string_view take_word(std::string_view& text, char separator);

/// Takes a number without sign or prefix off the front of `text`. std::nullopt, and `text` as it
/// was: no digit stands there, or the number is too large.
template <class Integer>
std::optional<Integer> take_number(std::string_view& text, int radix = 10) {
    Integer value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, radix);
    if (error != std::errc{}) {
        return std::nullopt;
    }
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

/// All of `text` as a number. std::nullopt: it is empty, too large, or has anything else in it.
template <class Integer>
std::optional<Integer> to_number(std::string_view text, int radix = 10) {
    const auto value = take_number<Integer>(text, radix);
    return text.empty() ? value : std::nullopt;
}

/// ASCII only.
std::string to_lower(std::string_view text);

/// "a, b, c".
std::string join(const std::vector<std::string>& parts, std::string_view separator = ", ");

}  // namespace cupule::base
