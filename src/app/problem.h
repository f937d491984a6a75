#pragma once

#include <fmt/core.h>

#include <string>
#include <utility>
#include <vector>

namespace cupule::app {

/// Something wrong with a command line.
struct Problem {
    /// For a person: names option and value, what is allowed, and the mend.
    std::string message;
    /// acrn-dm's exit code for it.
    int exit_code = 1;
};

/// All that is wrong with a command line, in the order it was found: reading goes on after an
/// error.
class Problems {
  public:
    template <class... Arguments>
    void error(int exit_code, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
        errors_.push_back({fmt::format(format, std::forward<Arguments>(arguments)...), exit_code});
    }

    template <class... Arguments>
    void warning(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
        warnings_.push_back(fmt::format(format, std::forward<Arguments>(arguments)...));
    }

    const std::vector<Problem>& errors() const { return errors_; }
    const std::vector<std::string>& warnings() const { return warnings_; }
    /// The first error's, 0 without one.
    int exit_code() const { return errors_.empty() ? 0 : errors_.front().exit_code; }

  private:
    std::vector<Problem> errors_;
    std::vector<std::string> warnings_;
};

}  // namespace cupule::app
