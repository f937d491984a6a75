#include "hypervisor/fake/fake_vm.h"

#include <unistd.h>

#include <cerrno>

#include "base/bits.h"
#include "base/file_descriptor.h"

namespace cupule::hypervisor {

FakeVm::FakeVm(VmSpec spec, unsigned gsi_count) : spec_(std::move(spec)), gsi_count_(gsi_count) {
    event::MutexLock lock(mutex_);
    gsis_.resize(gsi_count);
}

FakeVm::~FakeVm() {
    event::MutexLock lock(mutex_);
    while (stays_ != 0) {
        idle_.wait(mutex_);
    }
}

FakeVm::Stay::Stay(FakeVm& vm) : vm_(vm) {
    event::MutexLock lock(vm_.mutex_);
    ++vm_.stays_;
}

FakeVm::Stay::~Stay() {
    event::MutexLock lock(vm_.mutex_);
    --vm_.stays_;
    vm_.idle_.notify_all();
}

std::uint64_t FakeVm::access(io::IoRequest request) {
    io::IoClient* client = nullptr;
    {
        event::MutexLock lock(mutex_);
        if (!running_) {
            return base::ones(request.size);
        }
        client = client_;
        ++in_client_;
        ++requests_;
    }
    request.state = io::IoState::processing;
    if (!doorbells_.ring(request)) {
        client->handle(request);
    }
    request.state = io::IoState::free;
    event::MutexLock lock(mutex_);
    --in_client_;
    idle_.notify_all();
    return request.value;
}

std::uint64_t FakeVm::read_port(std::uint64_t port, std::uint8_t size, std::uint16_t vcpu) {
    return access({.kind = io::IoKind::port, .size = size, .vcpu = vcpu, .address = port});
}

void FakeVm::write_port(std::uint64_t port, std::uint8_t size, std::uint64_t value,
                        std::uint16_t vcpu) {
    access({.kind = io::IoKind::port,
            .direction = io::IoDirection::write,
            .size = size,
            .vcpu = vcpu,
            .address = port,
            .value = value});
}

std::uint64_t FakeVm::read_memory(std::uint64_t address, std::uint8_t size, std::uint16_t vcpu) {
    return access({.kind = io::IoKind::mmio, .size = size, .vcpu = vcpu, .address = address});
}

void FakeVm::write_memory(std::uint64_t address, std::uint8_t size, std::uint64_t value,
                          std::uint16_t vcpu) {
    access({.kind = io::IoKind::mmio,
            .direction = io::IoDirection::write,
            .size = size,
            .vcpu = vcpu,
            .address = address,
            .value = value});
}

bool FakeVm::gsi_level(irq::Gsi gsi) const {
    event::MutexLock lock(mutex_);
    return gsis_.at(gsi.value).first;
}

unsigned FakeVm::gsi_rises(irq::Gsi gsi) const {
    event::MutexLock lock(mutex_);
    return gsis_.at(gsi.value).second;
}

std::vector<irq::MsiMessage> FakeVm::take_messages() {
    event::MutexLock lock(mutex_);
    return std::exchange(messages_, {});
}

bool FakeVm::running() const {
    event::MutexLock lock(mutex_);
    return running_;
}

unsigned FakeVm::resets() const {
    event::MutexLock lock(mutex_);
    return resets_;
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> FakeVm::mappings() const {
    event::MutexLock lock(mutex_);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> result;
    for (const auto& [base, bytes] : mappings_) {
        result.emplace_back(base, bytes.size());
    }
    return result;
}

std::span<std::byte> FakeVm::memory(std::uint64_t address, std::uint64_t size) const {
    event::MutexLock lock(mutex_);
    for (const auto& [base, bytes] : mappings_) {
        const std::uint64_t offset = address - base;
        if (address >= base && offset < bytes.size() && size <= bytes.size() - offset) {
            return bytes.subspan(offset, size);
        }
    }
    return {};
}

void FakeVm::stop(VmStop reason) {
    {
        event::MutexLock lock(mutex_);
        running_ = false;
        ++in_client_;
    }
    report_stop(reason);
}

void FakeVm::stop_if_running(VmStop reason) {
    {
        event::MutexLock lock(mutex_);
        if (!running_) {
            return;
        }
        running_ = false;
        ++in_client_;
    }
    report_stop(reason);
}

void FakeVm::report_stop(VmStop reason) {
    VmEvents* events = nullptr;
    {
        event::MutexLock lock(mutex_);
        events = events_;
    }
    if (events != nullptr) {
        events->vm_stopped(reason, "fake");
    }
    event::MutexLock lock(mutex_);
    --in_client_;
    idle_.notify_all();
}

base::Result<void> FakeVm::start(io::IoClient& client, VmEvents& events) {
    event::MutexLock lock(mutex_);
    client_ = &client;
    events_ = &events;
    running_ = true;
    return {};
}

void FakeVm::pause() {
    event::MutexLock lock(mutex_);
    running_ = false;
    while (in_client_ != 0) {
        idle_.wait(mutex_);
    }
}

void FakeVm::request_pause() {
    event::MutexLock lock(mutex_);
    running_ = false;
}

base::Result<void> FakeVm::reset() {
    event::MutexLock lock(mutex_);
    if (running_) {
        return base::fail_errno(EPERM, "a VM is reset while it runs");
    }
    gsis_.assign(gsi_count_, {});
    messages_.clear();
    for (const auto& [fd, target] : level_routes_) {
        base::signal_eventfd(target.second);
    }
    ++resets_;
    return {};
}

base::Result<void> FakeVm::set_boot_state(const VcpuState& state) {
    boot_state_ = state;
    return {};
}

std::uint64_t FakeVm::request_count() const {
    event::MutexLock lock(mutex_);
    return requests_;
}

void FakeVm::set_gsi_level(irq::Gsi gsi, bool asserted) {
    event::MutexLock lock(mutex_);
    auto& [level, rises] = gsis_.at(gsi.value);
    rises += asserted && !level ? 1 : 0;
    level = asserted;
}

void FakeVm::send(const irq::MsiMessage& message) {
    event::MutexLock lock(mutex_);
    messages_.push_back(message);
}

base::Result<void> FakeVm::map(memory::GuestAddress base, std::uint64_t size, std::byte* host,
                               MemoryAccess /*access*/) {
    event::MutexLock lock(mutex_);
    for (const auto& [other, bytes] : mappings_) {
        if (base.value < other + bytes.size() && other < base.value + size) {
            return base::fail_errno(EEXIST, "guest memory at {:#x} is mapped already", base.value);
        }
    }
    mappings_.emplace(base.value, std::span(host, size));
    return {};
}

base::Result<void> FakeVm::unmap(memory::GuestAddress base) {
    event::MutexLock lock(mutex_);
    if (mappings_.erase(base.value) == 0) {
        return base::fail_errno(ENOENT, "no guest memory is mapped at {:#x}", base.value);
    }
    return {};
}

base::Result<void> FakeVm::add_doorbell(const io::Doorbell& doorbell) {
    return doorbells_.add(doorbell);
}

void FakeVm::remove_doorbell(const io::Doorbell& doorbell) {
    doorbells_.remove(doorbell);
}

base::Result<void> FakeVm::route_message(int eventfd, const irq::MsiMessage& message) {
    event::MutexLock lock(mutex_);
    message_routes_[eventfd] = message;
    return {};
}

base::Result<void> FakeVm::route_level(int eventfd, irq::Gsi gsi, int resample_eventfd) {
    event::MutexLock lock(mutex_);
    level_routes_[eventfd] = {gsi, resample_eventfd};
    return {};
}

void FakeVm::route_to_pic(irq::Gsi gsi, std::optional<std::uint8_t> irq) {
    event::MutexLock lock(mutex_);
    pic_routes_[gsi.value] = irq;
}

std::optional<std::uint8_t> FakeVm::pic_route(irq::Gsi gsi) const {
    event::MutexLock lock(mutex_);
    const auto found = pic_routes_.find(gsi.value);
    return found == pic_routes_.end() ? std::nullopt : found->second;
}

void FakeVm::unroute(int eventfd) {
    event::MutexLock lock(mutex_);
    message_routes_.erase(eventfd);
    level_routes_.erase(eventfd);
}

void FakeVm::end_of_interrupt(irq::Gsi gsi) {
    event::MutexLock lock(mutex_);
    gsis_.at(gsi.value).first = false;
    for (const auto& [fd, target] : level_routes_) {
        if (target.first == gsi) {
            base::signal_eventfd(target.second);
        }
    }
}

unsigned FakeVm::deliver_event_interrupts() {
    unsigned delivered = 0;
    const auto signalled = [](int fd) {
        std::uint64_t count = 0;
        return ::read(fd, &count, sizeof count) == sizeof count;
    };
    event::MutexLock lock(mutex_);
    for (const auto& [fd, message] : message_routes_) {
        if (signalled(fd)) {
            messages_.push_back(message);
            ++delivered;
        }
    }
    for (const auto& [fd, target] : level_routes_) {
        if (signalled(fd)) {
            auto& [level, rises] = gsis_.at(target.first.value);
            level = true;
            ++rises;
            ++delivered;
        }
    }
    return delivered;
}

}  // namespace cupule::hypervisor
