#include "app/serve_options.h"

#include <optional>

#include "app/exit_codes.h"
#include "app/option_values.h"
#include "app/problem.h"
#include "backend/block_store.h"
#include "backend/net_options.h"

namespace cupule::app {
namespace {

using Words = std::span<const std::string_view>;

constexpr std::uint64_t poll_ns_max = 10'000'000;
/// As for `run`.
constexpr std::uint64_t statistics_s_max = 86'400;

constexpr std::string_view help =
    "usage: cupule serve virtio-blk OPTIONS --socket PATH [--poll NANOSECONDS] [--stats SECONDS]\n"
    "       cupule serve virtio-net OPTIONS --socket PATH [--poll NANOSECONDS] [--stats SECONDS]\n"
    "\n"
    "Serves a device of this program to another virtual machine monitor over vhost-user: to\n"
    "`cupule run -s N,virtio-blk,vhost-user=PATH`, QEMU, DPDK and others. OPTIONS are those "
    "behind\n"
    "`-s N,virtio-blk,` or `-s N,virtio-net,` (cupule devices). Front ends may come one after\n"
    "another; SIGTERM and SIGINT end it.\n"
    "\n"
    "  --socket PATH, --socket-path PATH   where front ends connect; made with mode 0600\n"
    "  --poll NANOSECONDS                  the longest look for work before a worker sleeps, 0 to\n"
    "                                      10000000; it looks only while that has paid lately\n"
    "                                      [default: 50000]\n"
    "  --stats SECONDS                     log what each queue has done at the end, and every\n"
    "                                      SECONDS where that is not 0; at most 86400\n"
    "  --help                              this text\n";

/// A word, or the value of `--name VALUE` and `--name=VALUE`.
class Reader {
  public:
    explicit Reader(Words words) : words_(words) {}
    bool more() const { return next_ < words_.size(); }
    std::string_view word() { return words_[next_++]; }
    /// Empty: the value is missing.
    std::string_view value_of(std::string_view word) {
        const std::size_t equals = word.find('=');
        if (equals != word.npos) {
            return word.substr(equals + 1);
        }
        return more() ? this->word() : std::string_view{};
    }

  private:
    Words words_;
    std::size_t next_ = 0;
};

void read_option(std::string_view word, Reader& reader, ServeOptions& options, Problems& problems) {
    const std::string_view name = word.substr(0, word.find('='));
    const std::string_view value = reader.value_of(word);
    if (name == "--socket" || name == "--socket-path") {
        options.socket = value;
        return;
    }
    if (name == "--stats") {
        const auto seconds = parse_number(value, 0, statistics_s_max);
        if (!seconds) {
            problems.error(exit_bad_value, "serve: option --stats '{}': 0 to {} seconds", value,
                           statistics_s_max);
            return;
        }
        options.statistics_period_s = static_cast<std::uint32_t>(*seconds);
        return;
    }
    if (name != "--poll") {
        problems.error(exit_failure,
                       "serve: unknown option '{}'; there are --socket, --poll, --stats and --help",
                       name);
        return;
    }
    const auto poll_ns = parse_number(value, 0, poll_ns_max);
    if (!poll_ns) {
        problems.error(exit_bad_value, "serve: option --poll '{}': 0 to {} nanoseconds", value,
                       poll_ns_max);
        return;
    }
    options.poll_ns = *poll_ns;
}

base::Result<void> check_device(const ServeOptions& options) {
    if (options.device == "virtio-blk") {
        CUPULE_TRY(backend::parse_block_options(options.options));
        return {};
    }
    if (options.device != "virtio-net") {
        return base::fail("'{}' cannot be served; there are virtio-blk and virtio-net",
                          options.device);
    }
    CUPULE_TRY_ASSIGN(const auto net, backend::parse_net_options(options.options));
    if (net.vhost || net.kind == backend::NetKind::vhost_user) {
        return base::fail("a card that is served has neither vhost nor vhost-user");
    }
    return {};
}

void check(const ServeOptions& options, Problems& problems) {
    if (options.device.empty()) {
        problems.error(exit_failure, "serve: the device is missing: virtio-blk or virtio-net");
        return;
    }
    if (const auto result = check_device(options); !result) {
        problems.error(exit_bad_value, "serve {}: {}", options.device, result.error().message);
    }
    if (options.socket.empty()) {
        problems.error(exit_failure, "serve {}: --socket PATH is missing", options.device);
    }
}

}  // namespace

int serve_command(Words words, const CommandContext& context) {
    ServeOptions options;
    Problems problems;
    Reader reader(words);
    unsigned plain = 0;
    while (reader.more()) {
        const std::string_view word = reader.word();
        if (word == "--help" || word == "-h") {
            context.print(help);
            return exit_ok;
        }
        if (word.starts_with("--")) {
            read_option(word, reader, options, problems);
        } else if (plain++ < 2) {
            (plain == 1 ? options.device : options.options) = word;
        } else {
            problems.error(exit_failure, "serve: '{}' is one word too many", word);
        }
    }
    check(options, problems);
    for (const Problem& problem : problems.errors()) {
        context.complain(fmt::format("cupule: {}\n", problem.message));
    }
    return problems.errors().empty() ? context.run_serve(options) : problems.exit_code();
}

}  // namespace cupule::app
