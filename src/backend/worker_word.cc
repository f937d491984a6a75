#include "backend/worker_word.h"

#include "base/text.h"

namespace cupule::backend {
namespace {

constexpr std::string_view name = "iothread";
/// acrn-dm's limit for all devices together.
constexpr unsigned workers_max = 40;
constexpr unsigned cpu_max = 4095;

}  // namespace

bool is_worker_word(std::string_view word) {
    return word == name || (word.starts_with(name) && word[name.size()] == '=');
}

base::Result<WorkerCpus> parse_workers(std::string_view word) {
    const std::string_view text = word.substr(name.size());
    if (text.empty()) {
        return WorkerCpus{{}};
    }
    std::string_view rest = text.substr(1);
    const auto count = base::to_number<unsigned>(base::take_word(rest, '@'));
    const auto wrong = [text] {
        return base::fail(
            "iothread{}: wants =N[@CPU[:CPU...][/CPU[:CPU...]...]], 1 to {} threads and for each "
            "from the first on the processors it may run on",
            text, workers_max);
    };
    if (!count || *count == 0 || *count > workers_max || text.ends_with('@')) {
        return wrong();
    }
    WorkerCpus workers(*count);
    for (std::size_t worker = 0; !rest.empty(); ++worker) {
        const bool more = rest.find('/') != rest.npos;
        std::string_view list = base::take_word(rest, '/');
        if (worker >= workers.size() || list.empty() || (more && rest.empty())) {
            return wrong();
        }
        while (!list.empty()) {
            const bool goes_on = list.find(':') != list.npos;
            const auto cpu = base::to_number<unsigned>(base::take_word(list, ':'));
            if (!cpu || *cpu > cpu_max || (goes_on && list.empty())) {
                return wrong();
            }
            workers[worker].push_back(*cpu);
        }
    }
    return workers;
}

}  // namespace cupule::backend
