#include "passthrough/interrupt_relay.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <utility>

namespace cupule::passthrough {

InterruptRelay::InterruptRelay(Powers powers, pci::Msi* msi, pci::Msix* msix,
                               HostInterrupt msix_source)
    : powers_(powers), msi_(msi), msix_(msix), msix_source_(msix_source) {
    if (msi_ != nullptr) {
        msi_->set_observer(&msi_observer_);
    }
    if (msix_ != nullptr) {
        msix_->set_observer(&msix_observer_);
    }
}

InterruptRelay::~InterruptRelay() {
    disconnect();
}

void InterruptRelay::connect_intx(irq::Gsi gsi) {
    gsi_ = gsi;
    update();
}

void InterruptRelay::disconnect_intx() {
    gsi_.reset();
    update();
}

InterruptRelay::Mode InterruptRelay::wanted() const {
    if (stopped_) {
        return Mode::none;
    }
    if (msix_ != nullptr && msix_->enabled()) {
        return Mode::msix;
    }
    if (msi_ != nullptr && msi_->enabled()) {
        return Mode::msi;
    }
    const bool has_intx = powers_.host.interrupts(HostInterrupt::intx) != 0;
    return gsi_ && has_intx && powers_.function.may_assert_intx() ? Mode::intx : Mode::none;
}

HostInterrupt InterruptRelay::host_kind(Mode mode) const {
    switch (mode) {
        case Mode::msi:
            return HostInterrupt::msi;
        case Mode::msix:
            return msix_source_;
        case Mode::none:
        case Mode::intx:
            break;
    }
    return HostInterrupt::intx;
}

void InterruptRelay::update() {
    const Mode next = wanted();
    const bool regranted =
        mode_ == Mode::msi && next == Mode::msi && vectors_.size() != msi_->granted();
    if (next == mode_ && !regranted) {
        return;
    }
    disconnect();
    enter(next);
}

void InterruptRelay::stop() {
    stopped_ = true;
    update();
}

void InterruptRelay::disconnect() {
    if (mode_ == Mode::none) {
        return;
    }
    const Mode left = std::exchange(mode_, Mode::none);
    // The host stops signalling before the eventfds go.
    powers_.host.disable(host_kind(left));
    for (const Vector& vector : vectors_) {
        if (vector.routed) {
            powers_.events.unroute(vector.eventfd.get());
        }
    }
    vectors_.clear();
    resample_.close();
}

void InterruptRelay::enter(Mode mode) {
    mode_ = mode;
    switch (mode) {
        case Mode::none:
            return;
        case Mode::intx:
            enter_intx();
            return;
        case Mode::msi:
            vectors_.resize(msi_->granted());
            break;
        case Mode::msix:
            vectors_.resize(msix_->vectors());
            break;
    }
    const auto count = static_cast<unsigned>(vectors_.size());
    if (const auto enabled = powers_.host.enable(host_kind(mode), count); !enabled) {
        not_enabled_.report("{}: {}", powers_.host.name(), enabled.error().message);
        return;
    }
    announce_again();
}

/// Has the guest's side say again which vectors can send by now.
void InterruptRelay::announce_again() {
    if (mode_ == Mode::msi) {
        msi_->set_observer(&msi_observer_);
    } else if (mode_ == Mode::msix) {
        msix_->set_observer(&msix_observer_);
    }
}

void InterruptRelay::hold(bool held) {
    if (std::exchange(held_, held) == held) {
        return;
    }
    let_through();
    announce_again();
}

void InterruptRelay::let_through() {
    if (mode_ != Mode::msi && mode_ != Mode::msix) {
        return;
    }
    for (unsigned vector = 0; vector < vectors_.size(); ++vector) {
        const Vector& one = vectors_[vector];
        std::uint64_t count = 0;
        // Non-blocking: nothing is read where nothing has come.
        if (one.eventfd && !one.routed &&
            ::read(one.eventfd.get(), &count, sizeof count) == sizeof count) {
            arrived(vector);
        }
    }
}

void InterruptRelay::enter_intx() {
    auto line = base::make_eventfd();
    auto resample = base::make_eventfd();
    if (!line || !resample) {
        no_intx_.report("{}: no eventfd for INTx", powers_.host.name());
        return;
    }
    vectors_.resize(1);
    vectors_[0].eventfd = std::move(*line);
    resample_ = std::move(*resample);
    const int eventfd = vectors_[0].eventfd.get();
    auto done = powers_.events.route_level(eventfd, *gsi_, resample_.get());
    vectors_[0].routed = done.has_value();
    if (done) {
        done = powers_.host.connect(HostInterrupt::intx, 0, eventfd, resample_.get());
    }
    if (!done) {
        no_intx_.report("{}: no INTx: {}", powers_.host.name(), done.error().message);
    }
}

bool InterruptRelay::connect(unsigned vector) {
    if (vectors_[vector].eventfd) {
        return true;
    }
    const auto connected = connect_host(vector);
    if (!connected) {
        not_connected_.report("{}: vector {}: {}", powers_.host.name(), vector,
                              connected.error().message);
    }
    return connected.has_value();
}

base::Result<void> InterruptRelay::connect_host(unsigned vector) {
    CUPULE_TRY_ASSIGN(auto eventfd, base::make_eventfd());
    CUPULE_TRY_ASSIGN(auto watch,
                      powers_.loop.watch(eventfd.get(), 0, powers_.monitor,
                                         [this, vector](std::uint32_t) { arrived(vector); }));
    CUPULE_TRY(powers_.host.connect(host_kind(mode_), vector, eventfd.get(), -1));
    vectors_[vector].watch = std::move(watch);
    vectors_[vector].eventfd = std::move(eventfd);
    return {};
}

void InterruptRelay::vector_changed(Mode mode, unsigned vector,
                                    std::optional<irq::MsiMessage> message) {
    update();
    if (mode != mode_ || vector >= vectors_.size() || (!message && !vectors_[vector].eventfd) ||
        !connect(vector)) {
        return;
    }
    Vector& one = vectors_[vector];
    const int eventfd = one.eventfd.get();
    const bool waits = message && held_;
    const bool routes = message && !held_ && powers_.events.route_message(eventfd, *message);
    if (one.routed && !routes) {
        powers_.events.unroute(eventfd);
    }
    one.routed = routes;
    // Nobody carries it in: it comes here and becomes pending.
    one.watch->set_events(routes || waits ? 0U : std::uint32_t{EPOLLIN});
}

void InterruptRelay::arrived(unsigned vector) {
    base::drain_eventfd(vectors_[vector].eventfd.get());
    ++taken_;
    if (mode_ == Mode::msix) {
        msix_->notify(vector);
    } else if (mode_ == Mode::msi) {
        msi_->notify(vector);
    }
}

}  // namespace cupule::passthrough
