#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/text.h"

namespace cupule::passthrough {

/// A file of sysfs or proc as far as it can be read, empty where it cannot.
std::string read_host_bytes(const std::string& path);
/// The same without line ends behind it.
std::string read_host_text(const std::string& path);
/// Where a symbolic link leads; empty: there is none.
std::string host_link(const std::string& path);
/// The last part of that.
std::string host_link_name(const std::string& path);

/// All of `text` as a number, with or without "0x"; std::nullopt: it is none, or too large.
template <class T>
std::optional<T> parse_host_number(std::string_view text, int radix) {
    if (text.starts_with("0x")) {
        text.remove_prefix(2);
    }
    return base::to_number<T>(text, radix);
}

/// Takes the line that begins `rest` away, without its end.
std::string_view next_line(std::string_view& rest);

}  // namespace cupule::passthrough
