#include "hsm/request_slots.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <thread>
#include <utility>

#include "base/bits.h"

namespace cupule::hsm {
namespace {

/// As the client reads it. The states of io::IoState have the page's numbers.
acrn_io_request to_acrn(const io::IoRequest& request, io::IoState state, bool polling) {
    acrn_io_request slot{};
    const std::uint32_t direction =
        request.direction == io::IoDirection::write ? ACRN_IOREQ_DIR_WRITE : ACRN_IOREQ_DIR_READ;
    slot.completion_polling = polling ? 1 : 0;
    slot.processed = static_cast<std::uint32_t>(state);
    if (request.kind == io::IoKind::pci_config) {
        slot.type = ACRN_IOREQ_TYPE_PCICFG;
        acrn_pci_request& pci = slot.reqs.pci_request;
        pci.direction = direction;
        pci.size = request.size;
        pci.value = static_cast<std::uint32_t>(request.value);
        pci.bus = request.bdf.bus;
        pci.dev = request.bdf.device;
        pci.func = request.bdf.function;
        pci.reg = static_cast<std::uint32_t>(request.address);
    } else if (request.kind == io::IoKind::port) {
        slot.type = ACRN_IOREQ_TYPE_PORTIO;
        slot.reqs.pio_request.direction = direction;
        slot.reqs.pio_request.address = request.address;
        slot.reqs.pio_request.size = request.size;
        slot.reqs.pio_request.value = static_cast<std::uint32_t>(request.value);
    } else {
        slot.type = ACRN_IOREQ_TYPE_MMIO;
        slot.reqs.mmio_request.direction = direction;
        slot.reqs.mmio_request.address = request.address;
        slot.reqs.mmio_request.size = request.size;
        slot.reqs.mmio_request.value = request.value;
    }
    return slot;
}

}  // namespace

RequestSlots::RequestSlots(std::unique_ptr<ClientPage> page, unsigned vcpus, bool polling)
    : page_(std::move(page)), vcpus_(vcpus), polling_(polling) {}

void RequestSlots::handle(io::IoRequest& request) {
    const unsigned vcpu = request.vcpu;
    Waiters woken;
    {
        event::MutexLock lock(mutex_);
        Slot& slot = slots_[vcpu];
        // Only the end of a VM comes while the slot's own request is under way.
        while (slot.state != io::IoState::free && !abandoned_) {
            slot.changed.wait(mutex_);
        }
        if (abandoned_) {
            request.value = base::ones(request.size);
            request.state = io::IoState::complete;
            return;
        }
        slot.state = has_client_ ? io::IoState::processing : io::IoState::pending;
        page_->publish(vcpu, to_acrn(request, slot.state, polling_));
        if (has_client_) {
            woken = std::exchange(waiters_, {});
        }
    }
    finish(std::move(woken), 0);
    event::MutexLock lock(mutex_);
    wait_for_answer(vcpu);
    Slot& slot = slots_[vcpu];
    request.state = io::IoState::complete;
    request.value = base::ones(request.size);
    if (slot.state == io::IoState::complete) {
        request.value &= slot.answer;
        slot.state = io::IoState::free;
        page_->set_state(vcpu, ACRN_IOREQ_STATE_FREE);
        slot.changed.notify_all();
    }
}

void RequestSlots::wait_for_answer(unsigned vcpu) {
    // A client that polls too answers within a few turns of the scheduler; one that has to be woken
    // needs the processor.
    constexpr unsigned yields_max = 200;
    constexpr std::uint64_t poll_ns = 2'000;
    unsigned yields = 0;
    Slot& slot = slots_[vcpu];
    while (slot.state != io::IoState::complete && !abandoned_) {
        if (!polling_) {
            slot.changed.wait(mutex_);
        } else if (slot.state == io::IoState::processing &&
                   page_->state(vcpu) == ACRN_IOREQ_STATE_COMPLETE) {
            complete(vcpu);
            ++slot.notifies_owed;
        } else if (yields < yields_max) {
            ++yields;
            mutex_.unlock();
            std::this_thread::yield();
            mutex_.lock();
        } else {
            slot.changed.wait_for(mutex_, poll_ns);
        }
    }
}

void RequestSlots::abandon() {
    event::MutexLock lock(mutex_);
    abandoned_ = true;
    for (Slot& slot : slots_) {
        slot.changed.notify_all();
    }
}

void RequestSlots::resume() {
    event::MutexLock lock(mutex_);
    abandoned_ = false;
}

void RequestSlots::free_all() {
    event::MutexLock lock(mutex_);
    for (unsigned vcpu = 0; vcpu < vcpus_; ++vcpu) {
        slots_[vcpu].notifies_owed = 0;
        if (slots_[vcpu].state != io::IoState::free) {
            slots_[vcpu].state = io::IoState::free;
            page_->set_state(vcpu, ACRN_IOREQ_STATE_FREE);
        }
    }
}

int RequestSlots::create_client() {
    event::MutexLock lock(mutex_);
    if (has_client_) {
        return -EEXIST;
    }
    has_client_ = true;
    for (unsigned vcpu = 0; vcpu < vcpus_; ++vcpu) {
        slots_[vcpu].notifies_owed = 0;
        if (slots_[vcpu].state == io::IoState::pending) {
            slots_[vcpu].state = io::IoState::processing;
            page_->set_state(vcpu, ACRN_IOREQ_STATE_PROCESSING);
        }
    }
    return 0;
}

int RequestSlots::destroy_client() {
    Waiters waiters;
    {
        event::MutexLock lock(mutex_);
        has_client_ = false;
        waiters = std::exchange(waiters_, {});
    }
    finish(std::move(waiters), -ENODEV);
    return 0;
}

void RequestSlots::attach(std::uint64_t id, AttachDone done) {
    int result = 0;
    {
        event::MutexLock lock(mutex_);
        if (has_client_ && !has_request()) {
            waiters_.push_back({.id = id, .done = std::move(done)});
            return;
        }
        result = has_client_ ? 0 : -ENODEV;
    }
    done(result);
}

void RequestSlots::interrupt(std::uint64_t id) {
    Waiters found;
    {
        event::MutexLock lock(mutex_);
        const auto waiter = std::ranges::find(waiters_, id, &Waiter::id);
        if (waiter == waiters_.end()) {
            return;
        }
        found.push_back(std::move(*waiter));
        waiters_.erase(waiter);
    }
    finish(std::move(found), 0);
}

int RequestSlots::notify(std::uint32_t vcpu) {
    event::MutexLock lock(mutex_);
    if (!has_client_) {
        return 0;
    }
    if (vcpu >= vcpus_) {
        return -EINVAL;
    }
    Slot& slot = slots_[vcpu];
    if (slot.notifies_owed > 0) {
        --slot.notifies_owed;
    } else if (slot.state == io::IoState::processing) {
        complete(vcpu);
    }
    return 0;
}

void RequestSlots::clear() {
    event::MutexLock lock(mutex_);
    for (unsigned vcpu = 0; vcpu < vcpus_; ++vcpu) {
        if (slots_[vcpu].state == io::IoState::processing) {
            complete(vcpu);
        }
    }
}

void RequestSlots::complete(unsigned vcpu) {
    Slot& slot = slots_[vcpu];
    slot.answer = page_->answer(vcpu);
    slot.state = io::IoState::complete;
    page_->set_state(vcpu, ACRN_IOREQ_STATE_COMPLETE);
    slot.changed.notify_all();
}

bool RequestSlots::has_request() const {
    return std::ranges::any_of(
        slots_, [](const Slot& slot) { return slot.state == io::IoState::processing; });
}

void RequestSlots::finish(Waiters waiters, int result) {
    for (Waiter& waiter : waiters) {
        waiter.done(result);
    }
}

}  // namespace cupule::hsm
