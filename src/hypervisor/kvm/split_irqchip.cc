#include "hypervisor/kvm/split_irqchip.h"

#include <algorithm>

#include "base/bits.h"
#include "base/file_descriptor.h"
#include "hypervisor/vm.h"

namespace cupule::hypervisor {
namespace {

constexpr std::uint64_t ioapic_base = 0xFEC0'0000;
constexpr std::uint64_t ioapic_size = 0x1000;
constexpr unsigned timer_gsi = 2;

}  // namespace

void SplitIrqchip::handle(io::IoRequest& request) {
    const bool ours = request.kind == io::IoKind::mmio   ? handle_ioapic(request)
                      : request.kind == io::IoKind::port ? handle_pic(request)
                                                         : false;
    if (ours) {
        request.state = io::IoState::complete;
    } else {
        next_->handle(request);
    }
}

bool SplitIrqchip::handle_ioapic(io::IoRequest& request) {
    if (!base::contains(ioapic_base, ioapic_size, request.address, request.size)) {
        return false;
    }
    event::MutexLock lock(mutex_);
    const std::uint64_t offset = request.address - ioapic_base;
    if (request.direction == io::IoDirection::write) {
        ioapic_.write(offset, request.size, request.value);
    } else {
        request.value = ioapic_.read(offset, request.size);
    }
    return true;
}

bool SplitIrqchip::handle_pic(io::IoRequest& request) {
    if (!Pic8259aPair::owns(request.address)) {
        return false;
    }
    event::MutexLock lock(mutex_);
    const bool write = request.direction == io::IoDirection::write;
    std::uint64_t answer = base::ones(request.size);
    for (unsigned i = 0; i < request.size && Pic8259aPair::owns(request.address + i); ++i) {
        const std::uint64_t port = request.address + i;
        if (write) {
            pic_.write(port, static_cast<std::uint8_t>(request.value >> (8 * i)));
        } else {
            answer = base::write_lane(answer, i, 1, pic_.read(port));
        }
    }
    request.value = write ? request.value : answer;
    update_external();
    return true;
}

void SplitIrqchip::drive(unsigned gsi, bool high) {
    event::MutexLock lock(mutex_);
    driven_ = high ? driven_ | base::bit(gsi) : driven_ & ~base::bit(gsi);
    update_input(gsi);
}

void SplitIrqchip::update_input(unsigned gsi) {
    const bool source = (asserted_ & base::bit(gsi)) != 0;
    const bool high = source ? !is_low_active({gsi}) : (driven_ & base::bit(gsi)) != 0;
    if (gsi < Pic8259aPair::inputs) {
        pic_.set_input(gsi == timer_gsi ? 0 : gsi, high);
        update_external();
    }
    ioapic_.set_pin(gsi, high);
}

void SplitIrqchip::add_source(unsigned gsi, int resample_eventfd) {
    event::MutexLock lock(mutex_);
    sources_.push_back({.gsi = gsi, .resample_eventfd = resample_eventfd});
}

void SplitIrqchip::remove_source(unsigned gsi, int resample_eventfd) {
    event::MutexLock lock(mutex_);
    std::erase_if(sources_, [&](const Source& source) {
        return source.gsi == gsi && source.resample_eventfd == resample_eventfd;
    });
    if (std::ranges::find(sources_, gsi, &Source::gsi) == sources_.end()) {
        asserted_ &= ~base::bit(gsi);
        update_input(gsi);
    }
}

void SplitIrqchip::assert_source(unsigned gsi) {
    event::MutexLock lock(mutex_);
    asserted_ |= base::bit(gsi);
    update_input(gsi);
}

void SplitIrqchip::end_of_interrupt(std::uint8_t vector) {
    event::MutexLock lock(mutex_);
    for (const Source& source : sources_) {
        if (ioapic_.awaits_end(source.gsi, vector)) {
            release(source);
        }
    }
    ioapic_.end_of_interrupt(vector);
}

void SplitIrqchip::release(const Source& source) {
    asserted_ &= ~base::bit(source.gsi);
    update_input(source.gsi);
    // Who still interrupts says so again.
    base::signal_eventfd(source.resample_eventfd);
}

std::uint8_t SplitIrqchip::acknowledge() {
    event::MutexLock lock(mutex_);
    const std::uint8_t vector = pic_.acknowledge();
    external_ = pic_.output();
    return vector;
}

void SplitIrqchip::reset() {
    event::MutexLock lock(mutex_);
    ioapic_.reset();
    pic_.reset();
    external_ = pic_.output();
    for (const Source& source : sources_) {
        release(source);
    }
}

void SplitIrqchip::update_external() {
    const bool output = pic_.output();
    if (output != external_.exchange(output) && output) {
        host_.external_interrupt();
    }
}

}  // namespace cupule::hypervisor
