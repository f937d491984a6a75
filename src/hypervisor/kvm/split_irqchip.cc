#include "hypervisor/kvm/split_irqchip.h"

#include "base/bits.h"

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
    if (gsi < Pic8259aPair::inputs) {
        pic_.set_input(gsi == timer_gsi ? 0 : gsi, high);
        update_external();
    }
    ioapic_.set_pin(gsi, high);
}

void SplitIrqchip::end_of_interrupt(std::uint8_t vector) {
    event::MutexLock lock(mutex_);
    ioapic_.end_of_interrupt(vector);
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
}

void SplitIrqchip::update_external() {
    const bool output = pic_.output();
    if (output != external_.exchange(output) && output) {
        host_.external_interrupt();
    }
}

}  // namespace cupule::hypervisor
