#include "vhost_user/fault_guard.h"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

namespace cupule::vhost_user {
namespace {

/// Two tables of eight regions at the same time, an inflight area for each, and more connections
/// in tests.
constexpr std::size_t slots_max = 256;
constexpr std::size_t no_slot = slots_max;

struct Slot {
    std::atomic<bool> taken{false};
    /// Zero while it is being set up or taken down.
    std::atomic<std::uintptr_t> start{0};
    std::atomic<std::size_t> bytes{0};
    std::atomic<bool> faulted{false};
};
static_assert(std::atomic<std::uintptr_t>::is_always_lock_free);

// A signal handler can be reached in no other way.
constinit std::array<Slot, slots_max> slots{};
constinit std::atomic<bool> installed{false};

/// Only what may be called in a handler: system calls and lock-free atomics.
void on_fault(int signal, siginfo_t* info, void* /*context*/) {
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    for (Slot& slot : slots) {
        const std::uintptr_t start = slot.start;
        const std::size_t bytes = slot.bytes;
        if (start == 0 || address < start || address - start >= bytes) {
            continue;
        }
        slot.faulted = true;
        const int saved = errno;
        void* const mapped = mmap(
            info->si_addr == nullptr ? nullptr : reinterpret_cast<void*>(start), bytes,
            PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        errno = saved;
        if (mapped != MAP_FAILED) {
            return;
        }
    }
    // Not ours: the access faults again, and the process ends as it would have.
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    sigaction(signal, &plain, nullptr);
}

void install() {
    if (installed.exchange(true)) {
        return;
    }
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

base::Result<FaultGuard> FaultGuard::create(std::span<std::byte> mapping) {
    install();
    for (std::size_t index = 0; index < slots.size(); ++index) {
        Slot& slot = slots[index];
        if (!slot.taken.exchange(true)) {
            slot.faulted = false;
            slot.bytes = mapping.size();
            slot.start = reinterpret_cast<std::uintptr_t>(mapping.data());
            return FaultGuard(index);
        }
    }
    return base::fail("more than {} pieces of memory are shared", slots_max);
}

FaultGuard::FaultGuard(FaultGuard&& other) noexcept : slot_(std::exchange(other.slot_, no_slot)) {}

FaultGuard::~FaultGuard() {
    if (slot_ != no_slot) {
        slots[slot_].start = 0;
        slots[slot_].taken = false;
    }
}

bool FaultGuard::faulted() const {
    return slot_ != no_slot && slots[slot_].faulted;
}

}  // namespace cupule::vhost_user
