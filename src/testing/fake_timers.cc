#include "testing/fake_timers.h"

#include <algorithm>

#include "base/assert.h"

namespace cupule::testing {

class FakeTimers::FakeTimer : public event::Timer {
  public:
    FakeTimer(FakeTimers& owner, event::Callback fired) : owner_(owner), fired_(std::move(fired)) {
        owner_.timers_.push_back(this);
    }
    ~FakeTimer() override { std::erase(owner_.timers_, this); }
    void start_at(std::uint64_t deadline_ns) override {
        deadline_ns_ = std::max(deadline_ns, owner_.now_ns_);
        running_ = true;
    }
    void stop() override { running_ = false; }
    bool running() const override { return running_; }
    std::uint64_t deadline_ns() const { return deadline_ns_; }
    void fire() {
        running_ = false;
        fired_();
    }

  private:
    FakeTimers& owner_;
    event::Callback fired_;
    std::uint64_t deadline_ns_ = 0;
    bool running_ = false;
};

FakeTimers::~FakeTimers() {
    CUPULE_ASSERT(timers_.empty());
}

std::unique_ptr<event::Timer> FakeTimers::make_timer(event::Callback fired) {
    return std::make_unique<FakeTimer>(*this, std::move(fired));
}

void FakeTimers::advance(std::uint64_t ns) {
    const std::uint64_t end = now_ns_ + ns;
    for (;;) {
        FakeTimer* next = nullptr;
        for (FakeTimer* timer : timers_) {
            if (timer->running() && timer->deadline_ns() <= end &&
                (next == nullptr || timer->deadline_ns() < next->deadline_ns())) {
                next = timer;
            }
        }
        const std::uint64_t stop = next != nullptr ? next->deadline_ns() : end;
        wall_ns_ += static_cast<std::int64_t>(stop - now_ns_);
        now_ns_ = stop;
        if (next == nullptr) {
            return;
        }
        next->fire();
    }
}

std::uint64_t FakeTimers::next_deadline_ns() const {
    std::uint64_t next = 0;
    for (const FakeTimer* timer : timers_) {
        if (timer->running() && (next == 0 || timer->deadline_ns() < next)) {
            next = timer->deadline_ns();
        }
    }
    return next;
}

}  // namespace cupule::testing
