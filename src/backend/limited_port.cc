#include "backend/limited_port.h"

#include <algorithm>
#include <utility>

namespace cupule::backend {
namespace {

/// One direction: the card's rate, and the timer that ends a wait.
class Gate {
  public:
    Gate(RateLimiter& limiter, const event::Clock& clock, std::unique_ptr<event::Timer> timer)
        : limiter_(limiter), clock_(clock), timer_(std::move(timer)) {}

    /// False: the timer fires when it may be open.
    bool open() {
        const std::uint64_t delay_ns = limiter_.delay_ns();
        if (delay_ns != 0) {
            timer_->start_at(clock_.now_ns() + delay_ns);
        }
        return delay_ns == 0;
    }
    /// A frame of `bytes`, its NetHeader included, has passed.
    void charge(std::size_t bytes) { limiter_.charge(bytes - std::min(bytes, sizeof(NetHeader))); }
    void stop() { timer_->stop(); }

  private:
    RateLimiter& limiter_;
    const event::Clock& clock_;
    std::unique_ptr<event::Timer> timer_;
};

class LimitedPort : public NetPort, private NetPortEvents {
  public:
    LimitedPort(std::unique_ptr<NetPort> port, std::shared_ptr<CardLimits> limits,
                const event::Clock& clock, event::TimerService& timers)
        : port_(std::move(port)),
          limits_(std::move(limits)),
          out_(limits_->out, clock, timers.make_timer([this] { room_came(); })),
          in_(limits_->in, clock, timers.make_timer([this] { frames_came(); })) {}

    NetOffloads offloads() const override { return port_->offloads(); }
    void set_receive_offloads(const NetOffloads& offloads) override {
        port_->set_receive_offloads(offloads);
    }
    void set_attached(bool attached) override { port_->set_attached(attached); }
    bool can_steer() const override { return port_->can_steer(); }
    bool steer(const ReceiveSteering* rules) override { return port_->steer(rules); }
    bool link_up() const override { return port_->link_up(); }

    Sent send(std::span<const iovec> frame) override {
        if (!out_.open()) {
            return Sent::busy;
        }
        const Sent result = port_->send(frame);
        if (result == Sent::done) {
            std::size_t bytes = 0;
            for (const iovec& part : frame) {
                bytes += part.iov_len;
            }
            out_.charge(bytes);
        }
        return result;
    }
    void flush() override { port_->flush(); }
    std::size_t receive(std::span<const iovec> to) override {
        held_ = !in_.open();
        const std::size_t bytes = held_ ? 0 : port_->receive(to);
        if (bytes != 0) {
            in_.charge(bytes);
        }
        return bytes;
    }
    void want_frames(bool wanted) override {
        wanted_ = wanted;
        port_->want_frames(wanted && !held_);
    }
    void set_events(NetPortEvents* events) override {
        events_ = events;
        wanted_ = held_ = false;
        out_.stop();
        in_.stop();
        port_->set_events(events == nullptr ? nullptr : this);
    }

  private:
    void frames_came() override {
        held_ = false;
        if (events_ != nullptr && wanted_) {
            events_->frames_came();
        }
    }
    void room_came() override {
        if (events_ != nullptr) {
            events_->room_came();
        }
    }
    void link_changed(bool up) override {
        if (events_ != nullptr) {
            events_->link_changed(up);
        }
    }

    std::unique_ptr<NetPort> port_;
    const std::shared_ptr<CardLimits> limits_;
    NetPortEvents* events_ = nullptr;
    bool wanted_ = false;
    /// Frames wait for the gate's timer, not for the port.
    bool held_ = false;
    Gate out_;
    Gate in_;
};

}  // namespace

std::unique_ptr<NetPort> make_limited_port(std::unique_ptr<NetPort> port,
                                           std::shared_ptr<CardLimits> limits,
                                           const event::Clock& clock, event::TimerService& timers) {
    return std::make_unique<LimitedPort>(std::move(port), std::move(limits), clock, timers);
}

}  // namespace cupule::backend
