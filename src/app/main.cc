#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <vector>

#include "app/commands.h"
#include "app/run.h"

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

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string_view> words(argv, argv + argc);
    const cupule::app::CommandContext context{
        .print = [](std::string_view text) { write_all(STDOUT_FILENO, text); },
        .complain = [](std::string_view text) { write_all(STDERR_FILENO, text); },
        .host = cupule::app::host_queries(),
        .run_machine = cupule::app::run_machine,
    };
    return cupule::app::run_program(words, context);
}
