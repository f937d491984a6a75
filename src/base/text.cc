#include "base/text.h"

#include <algorithm>

namespace cupule::base {

std::vector<std::string_view> split_any(std::string_view text, std::string_view separators) {
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t end = text.find_first_of(separators);
        parts.push_back(text.substr(0, end));
        if (end == std::string_view::npos) {
            return parts;
        }
        text.remove_prefix(end + 1);
    }
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    return split_any(text, std::string_view(&separator, 1));
}

std::pair<std::string_view, std::string_view> cut(std::string_view text, char separator) {
    const std::size_t end = text.find(separator);
    if (end == std::string_view::npos) {
        return {text, {}};
    }
    return {text.substr(0, end), text.substr(end + 1)};
}

std::string_view after_last(std::string_view text, char separator) {
    const std::size_t last = text.rfind(separator);
    return last == std::string_view::npos ? text : text.substr(last + 1);
}

std::string_view take_word(std::string_view& text, char separator) {
    const auto [word, rest] = cut(text, separator);
    text = rest;
    return word;
}

std::string to_lower(std::string_view text) {
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return lower;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
    std::string text;
    for (const std::string& part : parts) {
        text += text.empty() ? "" : separator;
        text += part;
    }
    return text;
}

}  // namespace cupule::base
