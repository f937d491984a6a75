#include "hsm/shared_memory_function.h"

#include <utility>

#include "base/bits.h"
#include "base/log.h"
#include "hypervisor/acrn/acrn_abi.h"

namespace cupule::hsm {
namespace {

constexpr std::uint32_t class_memory = 0x05'00'00;
constexpr std::uint16_t subsystem_vendor = 0x8086;
constexpr unsigned vectors = 8;
constexpr std::uint32_t pending_bits_offset = 0x800;
constexpr std::uint64_t register_bar_size = 256;
constexpr std::uint64_t interrupt_bar_size = 4096;

// Registers of BAR 0, 32 bits each.
constexpr std::uint64_t interrupt_mask = 0x0;    // IntrMask
constexpr std::uint64_t interrupt_status = 0x4;  // IntrStatus
constexpr std::uint64_t iv_position = 0x8;       // IVPosition
constexpr std::uint64_t doorbell = 0xC;          // Doorbell

constexpr pci::Attributes attributes{
    .vendor_id = hypervisor::acrn::shared_memory_vendor,
    .device_id = hypervisor::acrn::shared_memory_device,
    .subsystem_vendor_id = subsystem_vendor,
    .revision = 1,
    .class_code = class_memory,
};

}  // namespace

std::unique_ptr<SharedMemoryFunction> SharedMemoryFunction::create(SharedMemory& memory,
                                                                   hypervisor::Vm& vm,
                                                                   std::uint16_t position,
                                                                   event::Monitor& monitor) {
    std::unique_ptr<SharedMemoryFunction> function(new SharedMemoryFunction(memory, vm, position));
    function->joined_ = memory.join(position, [&monitor, &msix = function->msix_](unsigned vector) {
        event::MutexLock lock(monitor);
        msix.notify(vector);
    });
    return function->joined_ ? std::move(function) : nullptr;
}

SharedMemoryFunction::SharedMemoryFunction(SharedMemory& memory, hypervisor::Vm& vm,
                                           std::uint16_t position)
    : memory_(memory),
      vm_(vm),
      position_(position),
      function_(attributes),
      msix_(function_, vm,
            {.vectors = vectors, .table_bar = 1, .pba_bar = 1, .pba_offset = pending_bits_offset}) {
    interrupts_.add(0, pci::Msix::table_size(vectors), msix_.table());
    interrupts_.add(pending_bits_offset, pci::Msix::pba_size(vectors), msix_.pba());
    function_.add_bar(0, {.size = register_bar_size, .handler = &registers_});
    function_.add_bar(1, {.size = interrupt_bar_size, .handler = &interrupts_});
    function_.add_bar(hypervisor::acrn::shared_memory_bar, {.kind = pci::BarKind::memory_64,
                                                            .size = memory.size(),
                                                            .prefetchable = true,
                                                            .mapper = &mapper_});
}

SharedMemoryFunction::~SharedMemoryFunction() {
    if (joined_) {
        memory_.leave(position_);
    }
}

void SharedMemoryFunction::reset() {
    state_ = State{};
    function_.reset();
}

std::uint64_t SharedMemoryFunction::Registers::read(std::uint64_t offset, unsigned size) {
    if (size != sizeof(std::uint32_t)) {
        return base::ones(size);
    }
    switch (offset) {
        case interrupt_mask:
            return owner_.state_.interrupt_mask;
        case interrupt_status:
            return owner_.state_.interrupt_status;
        case iv_position:
            return owner_.position_;
        default:
            return 0;
    }
}

void SharedMemoryFunction::Registers::write(std::uint64_t offset, unsigned size,
                                            std::uint64_t value) {
    if (size != sizeof(std::uint32_t)) {
        return;
    }
    const auto word = static_cast<std::uint32_t>(value);
    switch (offset) {
        case interrupt_mask:
            owner_.state_.interrupt_mask = word;
            break;
        case interrupt_status:
            owner_.state_.interrupt_status = word;
            break;
        case doorbell:
            if ((word & 0xFFFF) < vectors) {
                owner_.memory_.ring(static_cast<std::uint16_t>(word >> 16), word & 0xFFFF);
            }
            break;
        default:
            break;
    }
}

void SharedMemoryFunction::Mapper::bar_moved(unsigned /*bar*/,
                                             std::optional<std::uint64_t> address) {
    if (const auto old = std::exchange(mapped_, std::nullopt)) {
        if (const auto done = owner_.vm_.unmap({*old}); !done) {
            base::log_warning("{}", done.error().message);
        }
    }
    if (!address) {
        return;
    }
    const auto done = owner_.vm_.map({*address}, owner_.memory_.size(), owner_.memory_.data(),
                                     hypervisor::MemoryAccess::read_write);
    if (done) {
        mapped_ = address;
    } else {
        base::log_warning("shared memory is not where the guest puts it: {}", done.error().message);
    }
}

}  // namespace cupule::hsm
