#include "hypervisor/acrn/shared_ring.h"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace cupule::hypervisor::acrn {
namespace {

constexpr std::uint32_t ring_space = page_size - sizeof(SharedRingHeader);

}  // namespace

base::Result<std::unique_ptr<SharedRing>> SharedRing::create(std::uint32_t element_size) {
    void* const page =
        mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return base::fail_errno(errno, "cannot map a page for the hypervisor");
    }
    return std::unique_ptr<SharedRing>(new SharedRing(page, element_size));
}

SharedRing::SharedRing(void* page, std::uint32_t element_size)
    : page_(static_cast<SharedRingHeader*>(page)), size_(ring_space / element_size * element_size) {
    *page_ = {.magic = shared_ring_magic,
              .elements = ring_space / element_size,
              .element_size = element_size,
              .size = size_};
}

SharedRing::~SharedRing() {
    munmap(page_, page_size);
}

std::optional<VmEvent> SharedRing::take() {
    const std::uint32_t tail = std::atomic_ref(page_->tail).load(std::memory_order_acquire);
    const std::uint32_t head = page_->head;
    if (head == tail || head + sizeof(VmEvent) > size_) {
        return std::nullopt;
    }
    VmEvent event{};
    std::memcpy(&event, reinterpret_cast<const std::byte*>(page_ + 1) + head, sizeof event);
    const auto next = static_cast<std::uint32_t>(head + sizeof event);
    std::atomic_ref(page_->head).store(next >= size_ ? 0 : next, std::memory_order_release);
    return event;
}

}  // namespace cupule::hypervisor::acrn
