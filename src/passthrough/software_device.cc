#include "passthrough/software_device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/bits.h"
#include "passthrough/config_image.h"
#include "pci/config_registers.h"

namespace cupule::passthrough {

using Registers = SoftwareRegisters;

base::Result<std::unique_ptr<SoftwareDevice>> SoftwareDevice::create(
    SoftwareModel model, const memory::GuestMemory& memory) {
    std::unique_ptr<SoftwareDevice> device(new SoftwareDevice(std::move(model), memory));
    const SoftwareModel& is = device->model_;
    for (base::FileDescriptor& loss : device->losses_) {
        CUPULE_TRY_ASSIGN(loss, base::make_eventfd());
    }
    void* page =
        mmap(nullptr, is.mapped_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return base::fail_errno(errno, "{}: no memory for its registers", is.name);
    }
    device->page_ = static_cast<std::byte*>(page);
    device->bars_[is.bar] = describe_bar(*device, is.bar, is.bar_size);
    device->bars_[is.bar].pieces = {
        {.offset = is.mapped_offset, .size = is.mapped_size, .host = device->page_}};
    return device;
}

SoftwareDevice::~SoftwareDevice() {
    munmap(page_, model_.mapped_size);
}

std::uint64_t SoftwareDevice::read_config(std::uint64_t offset, unsigned size) {
    settle_intx();
    return released_ ? base::ones(size) : config_reader(config_)(offset, size);
}

void SoftwareDevice::write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
    for (unsigned i = 0; i < size && offset + i < config_.size(); ++i) {
        const std::uint8_t mask = model_.writable[offset + i];
        const auto written = static_cast<std::uint8_t>((value >> (8 * i)) & mask);
        std::uint8_t& byte = config_[offset + i];
        byte = static_cast<std::uint8_t>((byte & ~mask) | written);
    }
    settle_intx();
}

std::uint64_t SoftwareDevice::read_bar(unsigned bar, std::uint64_t offset, unsigned size) {
    if (bar != model_.bar || released_) {
        return base::ones(size);
    }
    settle_intx();
    if (base::contains(model_.mapped_offset, model_.mapped_size, offset, size)) {
        std::uint64_t value = 0;
        std::memcpy(&value, page_ + (offset - model_.mapped_offset), size);
        return value;
    }
    switch (offset) {
        case Registers::identity:
            return Registers::identity_value;
        case Registers::scratch:
            return state_.scratch;
        case Registers::source:
            return state_.source;
        case Registers::destination:
            return state_.destination;
        case Registers::length:
            return state_.length;
        case Registers::status:
            return state_.status;
        default:
            return 0;
    }
}

void SoftwareDevice::write_bar(unsigned bar, std::uint64_t offset, unsigned size,
                               std::uint64_t value) {
    if (bar != model_.bar || released_) {
        return;
    }
    if (base::contains(model_.mapped_offset, model_.mapped_size, offset, size)) {
        std::memcpy(page_ + (offset - model_.mapped_offset), &value, size);
        return;
    }
    switch (offset) {
        case Registers::scratch:
            state_.scratch = static_cast<std::uint32_t>(value);
            break;
        case Registers::source:
        case Registers::source + 4:
            state_.source =
                base::write_lane(state_.source, offset - Registers::source, size, value);
            break;
        case Registers::destination:
        case Registers::destination + 4:
            state_.destination =
                base::write_lane(state_.destination, offset - Registers::destination, size, value);
            break;
        case Registers::length:
            state_.length = std::min(static_cast<std::uint32_t>(value), Registers::length_max);
            break;
        case Registers::start:
            copy();
            interrupt(static_cast<unsigned>(value));
            break;
        case Registers::interrupt:
            interrupt(static_cast<unsigned>(value));
            break;
        case Registers::failure:
            base::signal_eventfd(loss_eventfd(HostLoss::failed));
            break;
        case Registers::acknowledge:
            state_.intx = false;
            break;
        default:
            break;
    }
    settle_intx();
}

bool SoftwareDevice::masters_bus() {
    return pci::Command::bus_master.of(
        static_cast<std::uint16_t>(read_config(pci::config::command, 2)));
}

void SoftwareDevice::copy() {
    std::array<std::byte, Registers::length_max> buffer{};
    const std::span<std::byte> bytes = std::span(buffer).first(state_.length);
    const bool read = masters_bus() && memory_.read({state_.source}, bytes);
    if (read && memory_.write({state_.destination}, bytes)) {
        state_.status = Registers::done;
        return;
    }
    state_.status = Registers::blocked;
    blocked_.report(read ? state_.destination : state_.source);
}

unsigned SoftwareDevice::interrupts(HostInterrupt kind) const {
    switch (kind) {
        case HostInterrupt::intx:
            return model_.intx;
        case HostInterrupt::msi:
            return model_.msi;
        case HostInterrupt::msix:
            break;
    }
    return model_.msix;
}

base::Result<void> SoftwareDevice::enable(HostInterrupt kind, unsigned vectors) {
    if (!eventfds_.empty()) {
        return base::fail("two kinds of interrupts at once");
    }
    kind_ = kind;
    eventfds_.assign(vectors, -1);
    return {};
}

base::Result<void> SoftwareDevice::connect(HostInterrupt kind, unsigned vector, int eventfd,
                                           int resample_eventfd) {
    if (kind == HostInterrupt::intx && eventfds_.empty()) {
        CUPULE_TRY(enable(kind, 1));
    }
    if (kind != kind_ || vector >= eventfds_.size()) {
        return base::fail("interrupt {} is not enabled", vector);
    }
    eventfds_[vector] = eventfd;
    resample_eventfd_ = resample_eventfd;
    masked_ = false;
    settle_intx();
    return {};
}

void SoftwareDevice::disable(HostInterrupt kind) {
    if (kind == kind_) {
        eventfds_.clear();
        kind_ = HostInterrupt::intx;
    }
}

void SoftwareDevice::interrupt(unsigned vector) {
    if (kind_ == HostInterrupt::intx) {
        state_.intx = model_.intx != 0;
        settle_intx();
        return;
    }
    // A message is a write to memory: without bus mastering there is none.
    if (masters_bus() && vector < eventfds_.size() && eventfds_[vector] >= 0) {
        base::signal_eventfd(eventfds_[vector]);
    }
}

/// As VFIO: a level signals once and is masked, until the resample eventfd says that it was ended.
void SoftwareDevice::settle_intx() {
    std::uint8_t& status = config_[pci::config::status];
    status = static_cast<std::uint8_t>(pci::Status::interrupt.with(status, state_.intx));
    if (kind_ != HostInterrupt::intx || eventfds_.empty()) {
        return;
    }
    std::uint64_t ends = 0;
    if (::read(resample_eventfd_, &ends, sizeof ends) == sizeof ends) {
        masked_ = false;
    }
    const auto command =
        static_cast<std::uint16_t>(config_reader(config_)(pci::config::command, 2));
    if (state_.intx && !masked_ && !pci::Command::interrupt_disable.of(command)) {
        masked_ = true;
        base::signal_eventfd(eventfds_[0]);
    }
}

base::Result<void> SoftwareDevice::reset() {
    CUPULE_ASSERT(eventfds_.empty());
    config_ = model_.config;
    state_ = State{};
    std::memset(page_, 0, model_.mapped_size);
    ++resets_;
    return {};
}

int SoftwareDevice::loss_eventfd(HostLoss loss) const {
    return losses_[static_cast<std::size_t>(loss)].get();
}

void SoftwareDevice::release() {
    released_ = true;
    bars_[model_.bar].pieces.clear();
}

}  // namespace cupule::passthrough
