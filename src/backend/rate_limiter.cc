#include "backend/rate_limiter.h"

#include <algorithm>
#include <limits>

#include "base/bits.h"

namespace cupule::backend {
namespace {

constexpr std::uint64_t default_burst_ns = event::ns_per_s / 10;
/// A century: what any sum of times is cut to, so that none can wrap.
constexpr std::uint64_t horizon_ns = event::ns_per_s * 86'400 * 36'525;

std::uint64_t burst_time(std::uint64_t rate, std::uint64_t burst) {
    if (rate == 0 || burst == 0) {
        return default_burst_ns;
    }
    const auto time = static_cast<base::Uint128>(burst) * event::ns_per_s / rate;
    return static_cast<std::uint64_t>(std::min<base::Uint128>(time, horizon_ns));
}

}  // namespace

RateMeter::RateMeter(std::uint64_t rate, std::uint64_t burst)
    : rate_(rate), burst_ns_(burst_time(rate, burst)) {}

std::uint64_t RateMeter::delay_ns(std::uint64_t now_ns) const {
    // Waits until less than the burst is unpaid.
    const std::uint64_t open_at = paid_at_ns_ - std::min(paid_at_ns_, burst_ns_);
    return rate_ == 0 || open_at <= now_ns ? 0 : open_at - now_ns;
}

void RateMeter::charge(std::uint64_t now_ns, std::uint64_t units) {
    if (rate_ == 0) {
        return;
    }
    if (paid_at_ns_ < now_ns) {
        paid_at_ns_ = now_ns;
        remainder_ = 0;
    }
    const auto cost = static_cast<base::Uint128>(units) * event::ns_per_s + remainder_;
    const auto time = std::min<base::Uint128>(cost / rate_, horizon_ns);
    remainder_ = static_cast<std::uint64_t>(cost % rate_);
    paid_at_ns_ = std::min(paid_at_ns_ + static_cast<std::uint64_t>(time), now_ns + horizon_ns);
}

RateLimiter::RateLimiter(const RateLimit& limit, const event::Clock& clock)
    : limits_(limit.limits()),
      clock_(clock),
      bytes_(limit.bytes_per_s, limit.bytes_burst),
      operations_(limit.operations_per_s, limit.operations_burst) {}

std::uint64_t RateLimiter::admit(std::uint64_t bytes) {
    if (!limits_) {
        return 0;
    }
    event::MutexLock lock(mutex_);
    const std::uint64_t now_ns = clock_.now_ns();
    const std::uint64_t delay_ns = delay_at(now_ns);
    if (delay_ns == 0) {
        charge_at(now_ns, bytes);
    }
    return delay_ns;
}

std::uint64_t RateLimiter::delay_ns() {
    event::MutexLock lock(mutex_);
    return delay_at(clock_.now_ns());
}

void RateLimiter::charge(std::uint64_t bytes) {
    event::MutexLock lock(mutex_);
    charge_at(clock_.now_ns(), bytes);
}

std::uint64_t RateLimiter::delay_at(std::uint64_t now_ns) const {
    return std::max(bytes_.delay_ns(now_ns), operations_.delay_ns(now_ns));
}

void RateLimiter::charge_at(std::uint64_t now_ns, std::uint64_t bytes) {
    bytes_.charge(now_ns, bytes);
    operations_.charge(now_ns, 1);
}

}  // namespace cupule::backend
