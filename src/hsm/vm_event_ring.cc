#include "hsm/vm_event_ring.h"

#include <cerrno>
#include <cstddef>
#include <utility>

#include "base/bits.h"

namespace cupule::hsm {

using hypervisor::acrn::SharedRingHeader;
using hypervisor::acrn::VmEvent;

int check_ring(const ClientProcess& process, std::uint64_t address, std::uint32_t element_size,
               SharedRingHeader& header) {
    constexpr std::uint64_t page_size = hypervisor::acrn::page_size;
    if (!base::is_aligned(address, page_size)) {
        return -EINVAL;
    }
    const auto loaded = process.load<SharedRingHeader>(address);
    if (!loaded) {
        return -EFAULT;
    }
    header = *loaded;
    const std::uint64_t size = std::uint64_t{header.elements} * element_size;
    const bool valid = header.magic == hypervisor::acrn::shared_ring_magic &&
                       header.element_size == element_size && header.elements >= 2 &&
                       size == header.size && size <= page_size - sizeof header;
    return valid ? 0 : -EINVAL;
}

int VmEventRing::set_page(std::shared_ptr<const ClientProcess> process, std::uint64_t address) {
    SharedRingHeader header{};
    if (const int result = check_ring(*process, address, sizeof(VmEvent), header); result < 0) {
        return result;
    }
    event::MutexLock lock(mutex_);
    if (process_) {
        return -EEXIST;
    }
    process_ = std::move(process);
    address_ = address;
    size_ = header.size;
    // The ring is this side's to fill: it begins where the client says, or at its beginning.
    const bool fits = header.tail < size_ && header.tail % sizeof(VmEvent) == 0;
    tail_ = fits ? header.tail : 0;
    return 0;
}

int VmEventRing::set_eventfd(int fd, const ClientProcess& caller) {
    auto taken = caller.take_descriptor(fd);
    if (!taken) {
        return -taken.error().code;
    }
    event::MutexLock lock(mutex_);
    if (!process_) {
        return -ENODEV;
    }
    if (eventfd_) {
        return -EEXIST;
    }
    eventfd_ = std::move(*taken);
    return 0;
}

void VmEventRing::put(const VmEvent& event) {
    event::MutexLock lock(mutex_);
    if (!process_) {
        return;
    }
    const std::uint32_t next =
        tail_ + sizeof event >= size_ ? 0 : static_cast<std::uint32_t>(tail_ + sizeof event);
    const auto header = process_->load<SharedRingHeader>(address_);
    if (!header || header->head == next) {
        return;
    }
    const std::uint64_t elements = address_ + sizeof(SharedRingHeader);
    if (process_->store(elements + tail_, event) &&
        process_->store(address_ + offsetof(SharedRingHeader, tail), next)) {
        tail_ = next;
    }
    if (eventfd_) {
        base::signal_eventfd(eventfd_.get());
    }
}

}  // namespace cupule::hsm
