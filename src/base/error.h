#pragma once

#include <fmt/core.h>

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace cupule::base {

/// A failure of the host, or of what a user asked for. The message is for a person: it names the
/// thing, the value, what is allowed and what to do, in lower case and without a full stop.
struct Error {
    std::string message;
    /// The errno behind it, 0 where there is none.
    int code = 0;

    /// The same failure seen from further up: "context: message".
    [[nodiscard]] Error in(std::string_view context) const {
        return Error{.message = fmt::format("{}: {}", context, message), .code = code};
    }
};

template <class T>
using Result = std::expected<T, Error>;

/// Makes the failing half of a Result: `return fail("disk '{}' is empty", path);`
template <class... Arguments>
[[nodiscard]] std::unexpected<Error> fail(fmt::format_string<Arguments...> format,
                                          Arguments&&... arguments) {
    return std::unexpected(
        Error{.message = fmt::format(format, std::forward<Arguments>(arguments)...), .code = 0});
}

/// The text of an errno value, safe on every thread.
std::string errno_text(int code);

/// Like `fail`, with errno's text behind the message: "cannot open 'x': No such file or directory".
template <class... Arguments>
[[nodiscard]] std::unexpected<Error> fail_errno(int code, fmt::format_string<Arguments...> format,
                                                Arguments&&... arguments) {
    std::string message = fmt::format(format, std::forward<Arguments>(arguments)...);
    return std::unexpected(
        Error{.message = fmt::format("{}: {}", message, errno_text(code)), .code = code});
}

}  // namespace cupule::base

#define CUPULE_CONCAT_(a, b) a##b
#define CUPULE_CONCAT(a, b) CUPULE_CONCAT_(a, b)

/// Runs an expression of type Result<void> and returns its error from the enclosing function.
#define CUPULE_TRY(expression)                                            \
    do {                                                                  \
        auto cupule_try_result = (expression);                            \
        if (!cupule_try_result) {                                         \
            return std::unexpected(std::move(cupule_try_result.error())); \
        }                                                                 \
    } while (false)

/// Declares `declaration` from a Result<T>, or returns its error: CUPULE_TRY_ASSIGN(auto fd,
/// open(p));
#define CUPULE_TRY_ASSIGN(declaration, expression)                                       \
    auto CUPULE_CONCAT(cupule_try_, __LINE__) = (expression);                            \
    if (!CUPULE_CONCAT(cupule_try_, __LINE__)) {                                         \
        return std::unexpected(std::move(CUPULE_CONCAT(cupule_try_, __LINE__).error())); \
    }                                                                                    \
    declaration = std::move(*CUPULE_CONCAT(cupule_try_, __LINE__))
