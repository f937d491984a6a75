#include "io/doorbell.h"

#include <algorithm>
#include <cerrno>

#include "base/file_descriptor.h"

namespace cupule::io {

base::Result<void> DoorbellTable::add(const Doorbell& doorbell) {
    event::MutexLock lock(mutex_);
    if (std::ranges::find(doorbells_, doorbell) != doorbells_.end()) {
        return base::fail_errno(EEXIST, "a doorbell at {:#x} is registered already",
                                doorbell.address);
    }
    doorbells_.push_back(doorbell);
    return {};
}

void DoorbellTable::remove(const Doorbell& doorbell) {
    event::MutexLock lock(mutex_);
    std::erase(doorbells_, doorbell);
}

bool DoorbellTable::ring(IoRequest& request) {
    if (request.direction != IoDirection::write) {
        return false;
    }
    event::MutexLock lock(mutex_);
    for (const Doorbell& doorbell : doorbells_) {
        if (doorbell.kind == request.kind && doorbell.address == request.address &&
            doorbell.size == request.size &&
            doorbell.match.value_or(request.value) == request.value) {
            base::signal_eventfd(doorbell.eventfd);
            request.state = IoState::complete;
            return true;
        }
    }
    return false;
}

}  // namespace cupule::io
