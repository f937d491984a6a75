#include "hypervisor/acrn/request_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "base/bits.h"
#include "hypervisor/acrn/acrn_abi.h"

namespace cupule::hypervisor::acrn {

base::Result<std::unique_ptr<RequestPage>> RequestPage::create() {
    base::FileDescriptor file(memfd_create("acrn-requests", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file || ftruncate(file.get(), page_size) < 0 ||
        fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        return base::fail_errno(errno, "cannot create the page of I/O requests");
    }
    void* page = mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (page == MAP_FAILED) {
        return base::fail_errno(errno, "cannot map the page of I/O requests");
    }
    return std::unique_ptr<RequestPage>(
        new RequestPage(std::move(file), static_cast<acrn_io_request_buffer*>(page)));
}

RequestPage::RequestPage(base::FileDescriptor file, acrn_io_request_buffer* page)
    : file_(std::move(file)), page_(page) {
    for (acrn_io_request& slot : page_->req_slot) {
        slot.processed = ACRN_IOREQ_STATE_FREE;
    }
}

RequestPage::~RequestPage() {
    munmap(page_, page_size);
}

bool RequestPage::is_ours(unsigned vcpu) const {
    acrn_io_request& slot = page_->req_slot[vcpu];
    return std::atomic_ref(slot.processed).load(std::memory_order_acquire) ==
               ACRN_IOREQ_STATE_PROCESSING &&
           std::atomic_ref(slot.kernel_handled).load(std::memory_order_relaxed) == 0;
}

std::optional<io::IoRequest> RequestPage::read(unsigned vcpu) const {
    const acrn_io_request& slot = page_->req_slot[vcpu];
    const acrn_mmio_request& common = slot.reqs.mmio_request;
    const std::uint64_t size =
        slot.type == ACRN_IOREQ_TYPE_PCICFG ? slot.reqs.pci_request.size : common.size;
    const bool is_mmio = slot.type == ACRN_IOREQ_TYPE_MMIO;
    if (size != 1 && size != 2 && size != 4 && (size != 8 || !is_mmio)) {
        return std::nullopt;
    }
    io::IoRequest request{.direction = common.direction == ACRN_IOREQ_DIR_WRITE
                                           ? io::IoDirection::write
                                           : io::IoDirection::read,
                          .state = io::IoState::processing,
                          .size = static_cast<std::uint8_t>(size),
                          .vcpu = static_cast<std::uint16_t>(vcpu)};
    switch (slot.type) {
        case ACRN_IOREQ_TYPE_PORTIO:
            request.kind = io::IoKind::port;
            request.address = slot.reqs.pio_request.address & 0xFFFF;
            request.value = slot.reqs.pio_request.value;
            break;
        case ACRN_IOREQ_TYPE_MMIO:
            request.kind = io::IoKind::mmio;
            request.address = common.address;
            request.value = common.value;
            break;
        case ACRN_IOREQ_TYPE_PCICFG:
            request.kind = io::IoKind::pci_config;
            request.bdf = {.bus = static_cast<std::uint8_t>(slot.reqs.pci_request.bus),
                           .device = static_cast<std::uint8_t>(slot.reqs.pci_request.dev & 0x1F),
                           .function = static_cast<std::uint8_t>(slot.reqs.pci_request.func & 7)};
            request.address = slot.reqs.pci_request.reg & 0xFFF;
            request.value = slot.reqs.pci_request.value;
            break;
        default:
            return std::nullopt;
    }
    request.value =
        request.direction == io::IoDirection::write ? request.value & base::ones(request.size) : 0;
    return request;
}

void RequestPage::answer(unsigned vcpu, std::uint64_t value) {
    acrn_io_request& slot = page_->req_slot[vcpu];
    if (slot.type == ACRN_IOREQ_TYPE_MMIO) {
        slot.reqs.mmio_request.value = value;
    } else {
        slot.reqs.pio_request.value = static_cast<std::uint32_t>(value);
    }
}

void RequestPage::complete(unsigned vcpu) {
    acrn_io_request& slot = page_->req_slot[vcpu];
    std::atomic_ref(slot.processed).store(ACRN_IOREQ_STATE_COMPLETE, std::memory_order_release);
}

}  // namespace cupule::hypervisor::acrn
