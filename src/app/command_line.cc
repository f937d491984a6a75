#include "app/command_line.h"

#include <algorithm>

#include "app/exit_codes.h"
#include "app/nearest.h"

namespace cupule::app {
namespace {

/// Walks over the words once.
class Reader {
  public:
    Reader(std::span<const std::string_view> words, const OptionHandler& handler,
           Problems& problems)
        : words_(words), handler_(handler), problems_(problems) {}

    std::vector<std::string> read() {
        while (next_ < words_.size()) {
            const std::string_view word = words_[next_++];
            if (word == "--") {
                positionals_.insert(positionals_.end(), words_.begin() + offset(), words_.end());
                break;
            }
            if (word.starts_with("--")) {
                read_long(word.substr(2));
            } else if (word.starts_with('-') && word.size() > 1) {
                read_cluster(word.substr(1));
            } else {
                positionals_.emplace_back(word);
            }
        }
        return std::move(positionals_);
    }

  private:
    std::ptrdiff_t offset() const { return static_cast<std::ptrdiff_t>(next_); }

    void read_long(std::string_view text) {
        const std::size_t equals = text.find('=');
        const std::string_view name = text.substr(0, equals);
        const OptionInfo* option = find_long(name);
        if (option == nullptr) {
            return;
        }
        if (option->argument == OptionArgument::none) {
            if (equals != std::string_view::npos) {
                problems_.error(exit_failure, "option {} takes no value, but has '{}'",
                                option_display(*option), text.substr(equals + 1));
                return;
            }
            handler_(*option, {});
        } else if (equals != std::string_view::npos) {
            handler_(*option, std::string(text.substr(equals + 1)));
        } else {
            take_next_word(*option);
        }
    }

    /// `text` is what follows the dash: flags, then perhaps an option with its value.
    void read_cluster(std::string_view text) {
        for (std::size_t i = 0; i < text.size(); ++i) {
            const OptionInfo* option = find_short(text, i);
            if (option == nullptr) {
                return;
            }
            if (option->argument == OptionArgument::none) {
                handler_(*option, {});
                continue;
            }
            if (i + 1 < text.size()) {
                handler_(*option, std::string(text.substr(i + 1)));
            } else {
                take_next_word(*option);
            }
            return;
        }
    }

    void take_next_word(const OptionInfo& option) {
        const bool has_word = next_ < words_.size();
        // The launch scripts of ACRN's configuration tool emit it without a value.
        const bool is_bare =
            option.id == OptionId::ssram && has_word && words_[next_].starts_with('-');
        if (!has_word || is_bare) {
            problems_.error(exit_failure, "option {} needs a value: {}", option_display(option),
                            option.grammar);
            return;
        }
        handler_(option, std::string(words_[next_++]));
    }

    /// The option of that name or unambiguous beginning. Reports and gives nullptr otherwise.
    const OptionInfo* find_long(std::string_view name) {
        std::vector<const OptionInfo*> matches;
        for (const OptionInfo& option : option_schema()) {
            if (option.long_name == name) {
                return &option;
            }
            if (option.long_name.starts_with(name)) {
                matches.push_back(&option);
            }
        }
        if (matches.size() == 1) {
            return matches.front();
        }
        if (matches.empty()) {
            problems_.error(exit_failure, "unknown option '--{}'{}", name, suggest(name));
            return nullptr;
        }
        std::string list;
        for (const OptionInfo* option : matches) {
            list += fmt::format("{}--{}", list.empty() ? "" : ", ", option->long_name);
        }
        problems_.error(exit_failure, "option '--{}' is ambiguous: it begins {}", name, list);
        return nullptr;
    }

    const OptionInfo* find_short(std::string_view cluster, std::size_t place) {
        const char letter = cluster[place];
        const auto schema = option_schema();
        const auto found = std::ranges::find_if(schema, [letter](const OptionInfo& option) {
            return option.short_letter != 0 && option.short_letter == letter;
        });
        if (found != schema.end()) {
            return &*found;
        }
        // "-kernel": one dash too few.
        const std::string hint = place == 0 && cluster.size() > 1 ? suggest(cluster) : "";
        problems_.error(exit_failure, "unknown option '-{}'{}{}", letter,
                        cluster.size() > 1 ? fmt::format(" in '-{}'", cluster) : "", hint);
        return nullptr;
    }

    static std::string suggest(std::string_view name) {
        std::vector<std::string_view> names;
        for (const OptionInfo& option : option_schema()) {
            names.push_back(option.long_name);
        }
        const std::string_view found = nearest(name.substr(0, name.find('=')), names);
        return found.empty() ? std::string("; `cupule run --help` lists the options")
                             : fmt::format("; did you mean '--{}'?", found);
    }

    std::span<const std::string_view> words_;
    const OptionHandler& handler_;
    Problems& problems_;
    std::size_t next_ = 0;
    std::vector<std::string> positionals_;
};

}  // namespace

std::vector<std::string> read_command_line(std::span<const std::string_view> words,
                                           const OptionHandler& handler, Problems& problems) {
    return Reader(words, handler, problems).read();
}

}  // namespace cupule::app
