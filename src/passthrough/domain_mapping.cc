#include "passthrough/domain_mapping.h"

#include <utility>

#include "base/log.h"

namespace cupule::passthrough {

DomainMapping::~DomainMapping() {
    if (const auto ended = end(); !ended) {
        base::log_warning("{}", ended.error().message);
    }
}

void DomainMapping::begin() {
    {
        event::MutexLock lock(mutex_);
        if (phase_ == Phase::mapping || phase_ == Phase::mapped) {
            return;
        }
        phase_ = Phase::mapping;
        failure_.reset();
    }
    pages_ = memory_.keep_pages();
    stopping_ = false;
    thread_ = std::make_unique<event::ThreadPool>("dma mapping", 1);
    thread_->post([this] {
        auto mapped = map_guest_memory(domain_, memory_, stopping_);
        event::MutexLock lock(mutex_);
        phase_ = mapped ? Phase::mapped : Phase::failed;
        if (!mapped) {
            failure_ = std::move(mapped.error());
        }
        changed_.notify_all();
    });
}

base::Result<void> DomainMapping::check() {
    event::MutexLock lock(mutex_);
    return failure_ ? std::unexpected(*failure_) : base::Result<void>{};
}

base::Result<void> DomainMapping::wait() {
    event::MutexLock lock(mutex_);
    while (phase_ == Phase::mapping) {
        changed_.wait(mutex_);
    }
    if (failure_) {
        return std::unexpected(*failure_);
    }
    return phase_ == Phase::mapped ? base::Result<void>{}
                                   : base::fail("guest memory is not in the IOMMU's domain");
}

base::Result<void> DomainMapping::end() {
    stopping_ = true;
    thread_.reset();
    const memory::GuestMemory::KeptPages kept_until_unmapped = std::move(pages_);
    {
        event::MutexLock lock(mutex_);
        failure_.reset();
        if (std::exchange(phase_, Phase::unmapped) != Phase::mapped) {
            return {};
        }
    }
    return unmap_guest_memory(domain_, memory_);
}

}  // namespace cupule::passthrough
