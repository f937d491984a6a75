#include "io/io_dispatcher.h"

#include "base/assert.h"
#include "base/bits.h"

namespace cupule::io {
namespace {

constexpr std::uint64_t last_port = 0xFFFF;
/// 52 bits: the widest guest physical address of the architecture.
constexpr std::uint64_t last_physical_address = base::mask(52);

void call(const AddressSpace::Visible& range, IoRequest& request) {
    const std::uint64_t offset = request.address - range.handler_base;
    if (request.direction == IoDirection::read) {
        request.value = range.handler->read(offset, request.size) & base::ones(request.size);
    } else {
        range.handler->write(offset, request.size, request.value & base::ones(request.size));
    }
}

void enter(const AddressSpace::Visible& range, IoRequest& request) {
    if (range.monitor == nullptr) {
        call(range, request);
        return;
    }
    event::MutexLock lock(*range.monitor);
    call(range, request);
}

void answer_unclaimed(IoRequest& request) {
    if (request.direction == IoDirection::read) {
        request.value = base::ones(request.size);
    }
}

}  // namespace

IoDispatcher::IoDispatcher(unsigned vcpus)
    : vcpus_(vcpus),
      ports_("port", last_port, vcpus),
      mmio_("memory", last_physical_address, vcpus) {}

void IoDispatcher::handle(IoRequest& request) {
    CUPULE_ASSERT(request.vcpu < vcpus_);
    switch (request.kind) {
        case IoKind::port:
            handle_ranged(request, ports_);
            break;
        case IoKind::mmio:
            handle_ranged(request, mmio_);
            break;
        case IoKind::pci_config:
            handle_pci(request);
            break;
    }
    request.state = IoState::complete;
}

void IoDispatcher::handle_ranged(IoRequest& request, AddressSpace& space) {
    {
        const AddressSpace::Lookup lookup = space.lookup(request.vcpu);
        const AddressSpace::Visible* range = lookup.find(request.address, request.size);
        if (range != nullptr) {
            enter(*range, request);
            if (tracer_ != nullptr) {
                const std::uint64_t offset = request.address - range->handler_base;
                tracer_->record(request, *range->name, range->handler->register_name(offset));
            }
            return;
        }
    }
    if (request.kind == IoKind::port && request.size > 1) {
        split_into_bytes(request);
        return;
    }
    answer_unclaimed(request);
    if (tracer_ != nullptr) {
        tracer_->record(request, {}, {});
    }
}

void IoDispatcher::split_into_bytes(IoRequest& request) {
    std::uint64_t answer = 0;
    for (unsigned i = 0; i < request.size; ++i) {
        IoRequest part = request;
        part.size = 1;
        part.address = (request.address + i) & last_port;
        part.value = (request.value >> (8 * i)) & 0xFF;
        handle_ranged(part, ports_);
        answer |= (part.value & 0xFF) << (8 * i);
    }
    if (request.direction == IoDirection::read) {
        request.value = answer;
    }
}

void IoDispatcher::handle_pci(IoRequest& request) {
    if (pci_ == nullptr) {
        answer_unclaimed(request);
        return;
    }
    if (request.direction == IoDirection::read) {
        request.value = pci_->read_config(request.bdf, request.address, request.size);
    } else {
        pci_->write_config(request.bdf, request.address, request.size, request.value);
    }
    if (tracer_ != nullptr) {
        tracer_->record(request, pci_->function_name(request.bdf),
                        pci_->config_register_name(request.address));
    }
}

}  // namespace cupule::io
