#include "backend/tap_queues.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <utility>

#include "backend/steering_program.h"
#include "base/log.h"

namespace cupule::backend {

TapQueues::TapQueues(std::vector<base::FileDescriptor> queues) : queues_(std::move(queues)) {
    const event::MutexLock lock(mutex_);
    order_.resize(queues_.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    if (queues_.size() > 1) {
        const auto tried = install({.hash_types = hash_type::all});
        can_steer_ = tried && set_program(-1);
        if (!tried) {
            base::log_debug("tap: no receive-side scaling: {}", tried.error().message);
        }
    }
}

TapQueues::~TapQueues() {
    if (can_steer_) {
        set_program(-1);
    }
}

bool TapQueues::set_program(int program) const {
    return ioctl(queues_.front().get(), TUNSETSTEERINGEBPF, &program) == 0;
}

std::optional<std::size_t> TapQueues::place_of(std::size_t number) const {
    const auto found = std::ranges::find(order_, number);
    return found == order_.end() ? std::nullopt
                                 : std::optional(static_cast<std::size_t>(found - order_.begin()));
}

bool TapQueues::attached(std::size_t number) const {
    const event::MutexLock lock(mutex_);
    return place_of(number).has_value();
}

bool TapQueues::set_attached(std::size_t number, bool attached) {
    const event::MutexLock lock(mutex_);
    const bool changed = change(number, attached);
    if (changed && rules_) {
        if (const auto result = install(*rules_); !result) {
            base::log_error("tap: frames come in by wrong queues: {}", result.error().message);
        }
    }
    return place_of(number).has_value();
}

/// Whether it is another state now.
bool TapQueues::change(std::size_t number, bool attached) {
    const auto place = place_of(number);
    ifreq request{};
    request.ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
    if (place.has_value() == attached || ioctl(fd(number), TUNSETQUEUE, &request) != 0) {
        return false;
    }
    if (place) {
        order_[*place] = order_.back();
        order_.pop_back();
    } else {
        order_.push_back(number);
    }
    return true;
}

base::Result<void> TapQueues::install(const ReceiveSteering& rules) {
    ReceiveSteering placed = rules;
    for (std::uint16_t& number : placed.table) {
        number = static_cast<std::uint16_t>(place_of(number).value_or(0));
    }
    placed.unclassified = static_cast<std::uint16_t>(place_of(rules.unclassified).value_or(0));
    CUPULE_TRY_ASSIGN(const base::FileDescriptor program, load_steering_program(placed));
    if (!set_program(program.get())) {
        return base::fail_errno(errno, "the kernel's tap takes no steering program");
    }
    return {};
}

bool TapQueues::attach(std::size_t number) {
    change(number, true);
    return place_of(number).has_value();
}

bool TapQueues::steer(const ReceiveSteering* rules) {
    const event::MutexLock lock(mutex_);
    if (rules == nullptr) {
        const bool done = !rules_ || set_program(-1);
        rules_.reset();
        return done;
    }
    bool all = attach(rules->unclassified);
    for (const std::uint16_t number : rules->table) {
        all = all && attach(number);
    }
    if (!all) {
        return false;
    }
    if (const auto result = install(*rules); !result) {
        if (!std::exchange(refusal_told_, true)) {
            base::log_warning("tap: receive-side scaling: {}", result.error().message);
        }
        return false;
    }
    rules_ = *rules;
    return true;
}

void TapQueues::offloads_refused(int code) {
    event::MutexLock lock(mutex_);
    if (!std::exchange(offloads_told_, true)) {
        base::log_warning("tap: offloads cannot be set: {}", base::errno_text(code));
    }
}

}  // namespace cupule::backend
