#include "device/storage/blk_queue.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/assert.h"
#include "device/storage/virtio_blk_protocol.h"

namespace cupule::device {
namespace {

using namespace virtio_blk;
using backend::BlockOperation;

/// Requests of one look, so that `stop` never waits for a driver that keeps the ring full.
constexpr unsigned batch_max = 64;
/// Requests between two times that the host is given what was taken and a driver is shown what has
/// ended: both work while we go on.
constexpr unsigned part_max = 8;

const char* to_text(BlockOperation operation) {
    switch (operation) {
        case BlockOperation::read:
            return "a read";
        case BlockOperation::write:
            return "a write";
        case BlockOperation::flush:
            return "a flush";
        case BlockOperation::discard:
            return "a discard";
        case BlockOperation::write_zeroes:
            break;
    }
    return "a write of zeroes";
}

}  // namespace

BlkQueue::BlkQueue(event::Worker& worker, const BlkDisk& disk)
    : worker_(worker),
      disk_(disk),
      driver_window_(disk.poll_ns_max),
      disk_window_(disk.poll_ns_max) {}

BlkQueue::~BlkQueue() {
    static_cast<void>(stop());
}

base::Result<void> BlkQueue::start(virtio::RunningQueue queue, virtio::DeviceEvents& events) {
    auto result = worker_.call([&] {
        auto started = start_here(std::move(queue), events);
        if (!started) {
            let_go();
        }
        return started;
    });
    started_ = result.has_value();
    return result;
}

std::optional<virtio::RunningQueue> BlkQueue::stop() {
    if (!std::exchange(started_, false)) {
        return std::nullopt;
    }
    return worker_.call([this] { return stop_here(); });
}

// On the worker.

base::Result<void> BlkQueue::start_here(virtio::RunningQueue queue, virtio::DeviceEvents& events) {
    const auto depth = queue.queue.geometry().size;
    if (disk_.store != nullptr) {
        CUPULE_TRY_ASSIGN(store_queue_, disk_.store->make_queue(depth));
    }
    // As edges: a look that is under way or comes finds what there is, and nothing has to be read.
    CUPULE_TRY_ASSIGN(kick_watch_, worker_.loop().watch(queue.kick_fd, EPOLLIN | EPOLLET,
                                                        worker_.monitor(), [this](std::uint32_t) {
                                                            meter_.kick();
                                                            wake(&driver_window_);
                                                        }));
    if (store_queue_ && store_queue_->event_fd() >= 0) {
        CUPULE_TRY_ASSIGN(
            done_watch_,
            worker_.loop().watch(store_queue_->event_fd(), EPOLLIN | EPOLLET, worker_.monitor(),
                                 [this](std::uint32_t) { wake(&disk_window_); }));
    }
    limit_timer_ = worker_.loop().make_timer(worker_.monitor(), [this] { wake(nullptr); });
    poller_ = worker_.loop().make_poller(worker_.monitor(),
                                         [this](std::uint64_t now_ns) { return look(now_ns); });
    slots_.resize(depth);
    free_.clear();
    for (std::uint32_t index = depth; index != 0; --index) {
        free_.push_back(index - 1);
    }
    running_ = std::move(queue);
    events_ = &events;
    held_.reset();
    stopping_ = false;
    asleep_ = true;
    asleep_since_ns_ = 0;
    broken_told_ = false;
    ended_.resize(batch_max);
    return {};
}

std::optional<virtio::RunningQueue> BlkQueue::stop_here() {
    poller_.reset();
    kick_watch_.reset();
    done_watch_.reset();
    limit_timer_.reset();
    stopping_ = true;
    if (const auto held = std::exchange(held_, std::nullopt)) {
        submit_step(*held);
    }
    while (free_.size() != slots_.size()) {
        begin_turn();
        store_queue_->kick();
        if (!finish_ended() && free_.size() != slots_.size()) {
            store_queue_->wait();
        }
    }
    publish();
    auto back = std::exchange(running_, std::nullopt);
    let_go();
    return back;
}

void BlkQueue::let_go() {
    poller_.reset();
    kick_watch_.reset();
    done_watch_.reset();
    limit_timer_.reset();
    store_queue_.reset();
    events_ = nullptr;
}

/// Something may have happened; `window` is of those who did it.
void BlkQueue::wake(event::PollWindow* window) {
    if (!std::exchange(asleep_, false)) {
        return;  // a look will find it
    }
    found_last_ns_ = now_ns();
    if (window != nullptr && asleep_since_ns_ != 0) {
        window->slept(found_last_ns_ - asleep_since_ns_);
    }
    if (store_queue_) {
        store_queue_->disarm();
    }
    running_->queue.disable_notifications();
    poller_->start();
}

/// False: asleep.
bool BlkQueue::look(std::uint64_t now_ns) {
    look_ns_ = ended_ns_ = now_ns;
    if (pass()) {
        found_last_ns_ = now_ns;
    }
    const bool at_work = free_.size() != slots_.size();
    const std::uint64_t window_ns = std::max(driver_window_.ns(), at_work ? disk_window_.ns() : 0);
    const bool keen = !held_ && now_ns - found_last_ns_ < window_ns;
    return keen || !sleep();
}

/// Asks to be woken by whatever can happen next. False: some of it has happened already.
bool BlkQueue::sleep() {
    virtio::Queue& queue = running_->queue;
    if (queue.broken() && !std::exchange(broken_told_, true)) {
        events_->queue_broken(running_->index, queue.fault());
    }
    // With no slot free or a request held back, the next completion or the timer looks at the ring.
    bool more = !waiting_.empty();
    more |= store_queue_ && store_queue_->arm();
    if (!queue.broken() && may_take()) {
        more |= queue.enable_notifications();
    }
    if (more) {
        if (store_queue_) {
            store_queue_->disarm();
        }
        queue.disable_notifications();
        return false;
    }
    asleep_ = true;
    asleep_since_ns_ = disk_.poll_ns_max != 0 ? look_ns_ : 0;
    return true;
}

void BlkQueue::submit_held() {
    const std::uint64_t delay_ns = disk_.limiter->admit(charge(slots_[*held_]));
    if (delay_ns == 0) {
        submit_step(*std::exchange(held_, std::nullopt));
    } else {
        limit_timer_->start_at(now_ns() + delay_ns);
    }
}

/// What a request costs of the byte limit: what it moves, not what it erases.
std::uint64_t BlkQueue::charge(const Slot& slot) {
    const bool moves =
        slot.operation == BlockOperation::read || slot.operation == BlockOperation::write;
    return moves ? slot.bytes : 0;
}

bool BlkQueue::may_take() const {
    return !held_ && !free_.empty() && taken_bytes_ < taken_bytes_max;
}

/// What waits for another turn has it, as far as that goes.
void BlkQueue::begin_turn() {
    look_bytes_ = 0;
    if (!waiting_.empty()) {
        for (const std::uint32_t index : std::exchange(waiting_, {})) {
            go_on(index);
        }
    }
}

/// Takes, starts, finishes. Whether there was anything to do.
bool BlkQueue::pass() {
    begin_turn();
    if (held_) {
        submit_held();
    }
    bool found = false;
    bool more = true;
    for (unsigned taken = 0; more; taken += part_max) {
        more = taken < batch_max && take_some();
        if (store_queue_ && free_.size() != slots_.size()) {
            store_queue_->kick();
            if (finish_ended()) {
                running_->queue.show();
                more = true;
            }
        }
        found |= more;
    }
    publish();
    return found;
}

bool BlkQueue::take_some() {
    unsigned taken = 0;
    while (taken < part_max && take_one()) {
        ++taken;
    }
    return taken != 0;
}

void BlkQueue::publish() {
    if (std::exchange(unpublished_, false)) {
        meter_.batch(running_->publish());
        worker_.served(meter_.take_recent());
    }
}

bool BlkQueue::finish_ended() {
    const std::size_t count = store_queue_->collect(ended_);
    ended_ns_ = count != 0 ? now_ns() : ended_ns_;
    for (const backend::BlockCompletion& each : std::span(ended_).first(count)) {
        step_ended(each.token, each.error);
    }
    return count != 0;
}

bool BlkQueue::take_one() {
    if (!may_take() || look_bytes_ >= look_bytes_max) {
        return false;
    }
    virtio::Chain chain = running_->queue.pop();
    if (!chain) {
        return false;
    }
    if (chain.writable_bytes() == 0) {
        running_->queue.push_used(std::move(chain), 0);  // no room for a status
        unpublished_ = true;
        return true;
    }
    const std::uint32_t index = free_.back();
    free_.pop_back();
    Slot& slot = slots_[index];
    // The last writable byte is the status, whatever comes before it (5.2.6).
    slot.room = chain.writable_bytes() - 1;
    slot.chain = std::move(chain);
    slot.bytes = 0;
    slot.weight = 0;
    slot.may_unmap = false;
    slot.next_range = 0;
    slot.ranges.clear();
    slot.began_ns = look_ns_;
    if (const Verdict verdict = begin(slot)) {
        finish(index, *verdict);
        return true;
    }
    for (const Range& range : slot.ranges) {
        slot.weight += weight(slot, range);
    }
    taken_bytes_ += slot.weight;
    const std::uint64_t delay_ns =
        disk_.limiter != nullptr ? disk_.limiter->admit(charge(slot)) : 0;
    if (delay_ns == 0) {
        submit_step(index);
        return true;
    }
    held_ = index;
    meter_.throttle();
    limit_timer_->start_at(now_ns() + delay_ns);
    return false;
}

// Requests.

void BlkQueue::submit_step(std::uint32_t index) {
    const Slot& slot = slots_[index];
    const Range& range = slot.ranges[slot.next_range];
    look_bytes_ += weight(slot, range);
    const bool taken = store_queue_->submit(
        {.operation = slot.operation,
         .durable = !disk_.write_back,
         .may_unmap = slot.may_unmap,
         .at = range.at,
         .bytes = range.bytes,
         .segments = std::span(slot.segments).subspan(range.first_segment, range.segment_count),
         .token = index});
    CUPULE_ASSERT(taken);  // it is as deep as there are slots
}

void BlkQueue::step_ended(std::uint32_t index, int error) {
    Slot& slot = slots_[index];
    if (error != 0) {
        tell_failure(slot, error);
        const bool refused = error == EOPNOTSUPP || error == ENOSYS;
        finish(index, refused ? outcome::unsupported : outcome::io_error);
        return;
    }
    if (++slot.next_range < slot.ranges.size()) {
        go_on(index);
        return;
    }
    finish(index, outcome::ok);
}

/// The next step, now or in another turn.
void BlkQueue::go_on(std::uint32_t index) {
    if (stopping_ && slots_[index].weight > taken_bytes_max) {
        finish(index, outcome::io_error);
    } else if (look_bytes_ < look_bytes_max) {
        submit_step(index);
    } else {
        waiting_.push_back(index);
    }
}

void BlkQueue::finish(std::uint32_t index, std::uint8_t status) {
    Slot& slot = slots_[index];
    virtio::ChainWriter writer(slot.chain);
    writer.skip(slot.room);
    writer.value(status);
    const bool failed = status != outcome::ok;
    const bool to_guest = slot.operation == BlockOperation::read && !failed;
    const std::uint64_t data = to_guest ? slot.bytes : 0;
    // Only what was written from the start on counts; with a gap before the status, the status is
    // there but not counted.
    const std::uint64_t written = data == slot.room ? data + 1 : data;
    running_->queue.push_used(std::move(slot.chain), static_cast<std::uint32_t>(written));
    unpublished_ = true;
    meter_.request(failed ? 0 : slot.bytes, failed, ended_ns_ - slot.began_ns);
    taken_bytes_ -= slot.weight;
    free_.push_back(index);
}

void BlkQueue::tell_failure(const Slot& slot, int error) {
    if (std::exchange(failure_told_, true)) {
        return;
    }
    const Range& range = slot.ranges[slot.next_range];
    base::log_error("virtio-blk {}: {} of {} bytes at byte {}: {}; the guest gets an I/O error",
                    disk_.serial, to_text(slot.operation), range.bytes, range.at,
                    base::errno_text(error));
}

}  // namespace cupule::device
