#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string_view>
#include <vector>

#include "app/commands.h"
#include "app/descriptor_limit.h"
#include "app/exit_codes.h"
#include "app/hsm_command.h"
#include "app/logging.h"
#include "app/run.h"
#include "app/serve_command.h"
#include "base/log.h"
#include "event/system_clock.h"

namespace {

void write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::write(fd, text.data(), text.size());
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return;
        }
        text.remove_prefix(static_cast<std::size_t>(count));
    }
}

/// Threads with stacks below the size of a huge page: Debian's hosts give each larger one a huge
/// page at its first touch, 2 MiB cleared and kept for a few KiB.
void limit_thread_stacks() {
    constexpr std::size_t stack_size = 1 << 20;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return;
    }
    if (pthread_attr_setstacksize(&attributes, stack_size) == 0) {
        pthread_setattr_default_np(&attributes);
    }
    pthread_attr_destroy(&attributes);
}

/// The machine with the log as the options want it.
int run_with_log(const cupule::app::VmOptions& options) {
    const cupule::event::SystemClock clock;
    const auto logger = cupule::app::Logger::create(options.logger, options.name, {}, clock);
    if (!logger) {
        cupule::base::log_error("option --logger_setting: {}", logger.error().message);
        return cupule::app::exit_failure;
    }
    cupule::base::set_log_sink(logger->get());
    cupule::base::set_log_level((*logger)->level());
    const int status = cupule::app::run_machine(options);
    cupule::base::set_log_sink(nullptr);
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    limit_thread_stacks();
    cupule::app::raise_descriptor_limit();
    const std::vector<std::string_view> words(argv, argv + argc);
    const cupule::app::CommandContext context{
        .print = [](std::string_view text) { write_all(STDOUT_FILENO, text); },
        .complain = [](std::string_view text) { write_all(STDERR_FILENO, text); },
        .host = cupule::app::host_queries(),
        .run_machine = run_with_log,
        .run_hsm = cupule::app::run_hsm,
        .run_serve = cupule::app::run_serve,
    };
    return cupule::app::run_program(words, context);
}
