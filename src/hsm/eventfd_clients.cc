#include "hsm/eventfd_clients.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/bits.h"
#include "base/text.h"
#include "hypervisor/acrn/acrn_abi.h"

namespace cupule::hsm {
namespace {

/// A client needs one doorbell for each queue and one interrupt for each vector.
constexpr std::size_t eventfds_max = 4096;

/// The kernel's number of an eventfd (proc(5), fdinfo); empty for another kind of file.
std::optional<std::uint64_t> eventfd_id(int fd) {
    char text[512];
    const auto file = base::open_file(fmt::format("/proc/self/fdinfo/{}", fd), O_RDONLY);
    const ssize_t size = file ? ::read(file->get(), text, sizeof text) : -1;
    const std::string_view info(text, size > 0 ? static_cast<std::size_t>(size) : 0);
    constexpr std::string_view key = "eventfd-id:";
    std::size_t place = info.find(key);
    if (place == std::string_view::npos) {
        return std::nullopt;
    }
    place = info.find_first_not_of(" \t", place + key.size());
    if (place == std::string_view::npos) {
        return std::nullopt;
    }
    std::string_view figures = info.substr(place);
    return base::take_number<std::uint64_t>(figures);
}

bool has_length(std::uint32_t length) {
    return length == 1 || length == 2 || length == 4 || length == 8;
}

}  // namespace

EventfdClients::~EventfdClients() {
    event::MutexLock lock(mutex_);
    for (const Bell& bell : bells_) {
        if (bell.in_hypervisor) {
            vm_.remove_doorbell(bell.doorbell);
        }
    }
    for (const Eventfd& interrupt : interrupts_) {
        vm_.unroute(interrupt.descriptor.get());
    }
}

base::Result<EventfdClients::Eventfd> EventfdClients::open_eventfd(int fd,
                                                                   const ClientProcess& caller) {
    CUPULE_TRY_ASSIGN(base::FileDescriptor descriptor, caller.take_descriptor(fd));
    const auto id = eventfd_id(descriptor.get());
    if (!id) {
        return base::fail_errno(EINVAL, "descriptor {} is not an eventfd", fd);
    }
    return Eventfd{.descriptor = std::move(descriptor), .id = *id};
}

int EventfdClients::change_doorbell(const acrn_ioeventfd& change, const ClientProcess& caller) {
    const bool is_removal = (change.flags & ACRN_IOEVENTFD_FLAG_DEASSIGN) != 0;
    if (change.reserved != 0) {
        return -EINVAL;
    }
    if (!is_removal && (!has_length(change.len) || change.len > ~change.addr)) {
        return -EINVAL;
    }
    // ACRN's hypervisor knows its asynchronous ones by their address.
    if (!is_removal && (change.flags & hypervisor::acrn::ioeventfd_flag_asyncio) != 0 &&
        change.addr == 0) {
        return -EINVAL;
    }
    auto eventfd = open_eventfd(static_cast<int>(change.fd), caller);
    if (!eventfd) {
        return -eventfd.error().code;
    }
    event::MutexLock lock(mutex_);
    if (is_removal) {
        remove_doorbell(eventfd->id);
        return 0;
    }
    return add_doorbell(change, std::move(*eventfd));
}

int EventfdClients::add_doorbell(const acrn_ioeventfd& change, Eventfd eventfd) {
    io::Doorbell doorbell{
        .kind = (change.flags & ACRN_IOEVENTFD_FLAG_PIO) != 0 ? io::IoKind::port : io::IoKind::mmio,
        .address = change.addr,
        .size = static_cast<std::uint8_t>(change.len),
        .match = std::nullopt,
        .eventfd = eventfd.descriptor.get()};
    if ((change.flags & ACRN_IOEVENTFD_FLAG_DATAMATCH) != 0) {
        doorbell.match = change.data;
    }
    for (const Bell& bell : bells_) {
        if (bell.eventfd.id == eventfd.id && bell.doorbell.address == doorbell.address &&
            bell.doorbell.kind == doorbell.kind &&
            (!bell.doorbell.match || !doorbell.match || bell.doorbell.match == doorbell.match)) {
            return -EEXIST;
        }
    }
    if (bells_.size() >= eventfds_max) {
        return -ENOMEM;
    }
    // The hypervisor may know only one eventfd for an address and value; `handle` has the rest.
    const bool in_hypervisor = vm_.add_doorbell(doorbell).has_value();
    bells_.push_back(
        {.eventfd = std::move(eventfd), .doorbell = doorbell, .in_hypervisor = in_hypervisor});
    return 0;
}

void EventfdClients::remove_doorbell(std::uint64_t id) {
    const auto bell =
        std::ranges::find_if(bells_, [id](const Bell& item) { return item.eventfd.id == id; });
    if (bell == bells_.end()) {
        return;
    }
    if (bell->in_hypervisor) {
        vm_.remove_doorbell(bell->doorbell);
    }
    bells_.erase(bell);
}

int EventfdClients::change_interrupt(const acrn_irqfd& change, const ClientProcess& caller) {
    auto eventfd = open_eventfd(change.fd, caller);
    if (!eventfd) {
        return -eventfd.error().code;
    }
    event::MutexLock lock(mutex_);
    if ((change.flags & ACRN_IRQFD_FLAG_DEASSIGN) != 0) {
        remove_interrupt(eventfd->id);
        return 0;
    }
    return add_interrupt(change, std::move(*eventfd));
}

int EventfdClients::add_interrupt(const acrn_irqfd& change, Eventfd eventfd) {
    if (std::ranges::find(interrupts_, eventfd.id, &Eventfd::id) != interrupts_.end()) {
        return -EBUSY;
    }
    if (interrupts_.size() >= eventfds_max) {
        return -ENOMEM;
    }
    const auto routed = vm_.route_message(
        eventfd.descriptor.get(),
        {.address = change.msi.msi_addr, .data = static_cast<std::uint32_t>(change.msi.msi_data)});
    if (!routed) {
        return routed.error().code != 0 ? -routed.error().code : -ENOMEM;
    }
    interrupts_.push_back(std::move(eventfd));
    return 0;
}

void EventfdClients::remove_interrupt(std::uint64_t id) {
    const auto found = std::ranges::find(interrupts_, id, &Eventfd::id);
    if (found != interrupts_.end()) {
        vm_.unroute(found->descriptor.get());
        interrupts_.erase(found);
    }
}

bool EventfdClients::handle(io::IoRequest& request) {
    event::MutexLock lock(mutex_);
    bool in_range = false;
    bool rung = false;
    for (const Bell& bell : bells_) {
        const io::Doorbell& doorbell = bell.doorbell;
        if (doorbell.kind != request.kind ||
            !base::contains(doorbell.address, doorbell.size, request.address, request.size)) {
            continue;
        }
        in_range = true;
        if (!rung && request.direction == io::IoDirection::write &&
            doorbell.address == request.address &&
            doorbell.match.value_or(request.value) == request.value) {
            base::signal_eventfd(doorbell.eventfd);
            rung = true;
        }
    }
    if (in_range) {
        request.value = 0;
        request.state = io::IoState::complete;
    }
    return in_range;
}

}  // namespace cupule::hsm
