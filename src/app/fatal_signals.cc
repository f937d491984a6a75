#include "app/fatal_signals.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>

namespace cupule::app {
namespace {

constexpr std::array signals{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGQUIT};

// A signal handler gets no argument of ours: what it needs has to be where it can find it.
std::atomic<backend::StdioOwner*> terminal_owner{nullptr};
std::array<struct sigaction, signals.size()> earlier_actions;
static_assert(std::atomic<backend::StdioOwner*>::is_always_lock_free);

void put_back(int signal) {
    const auto* const place = std::find(signals.begin(), signals.end(), signal);
    const auto index = static_cast<std::size_t>(place - signals.begin());
    sigaction(signal, &earlier_actions.at(index), nullptr);
}

/// Async-signal-safe throughout.
void on_fatal_signal(int signal, siginfo_t* info, void* /*context*/) {
    if (backend::StdioOwner* const owner = terminal_owner.load(); owner != nullptr) {
        owner->restore_terminal();
    }
    put_back(signal);
    // A fault comes again by itself when its instruction does, with its address for a debugger or
    // a sanitizer; what was sent (si_code 0 or less) does not.
    if (info->si_code <= 0) {
        raise(signal);
    }
}

}  // namespace

FatalSignals::FatalSignals(backend::StdioOwner& stdio) {
    terminal_owner.store(&stdio);
    struct sigaction action {};
    action.sa_sigaction = on_fatal_signal;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    for (std::size_t i = 0; i < signals.size(); ++i) {
        sigaction(signals.at(i), &action, &earlier_actions.at(i));
    }
}

FatalSignals::~FatalSignals() {
    for (const int signal : signals) {
        put_back(signal);
    }
    terminal_owner.store(nullptr);
}

}  // namespace cupule::app
