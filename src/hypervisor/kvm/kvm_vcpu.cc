#include "hypervisor/kvm/kvm_vcpu.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace cupule::hypervisor {

base::Result<void> KvmVcpu::set_cpuid(const KvmCpuid& cpuid) {
    const auto buffer = std::make_unique<KvmList<kvm_cpuid_entry2, cpuid_entries_max>>();
    buffer->count = static_cast<std::uint32_t>(cpuid.entries.size());
    std::ranges::copy(cpuid.entries, buffer->entries);
    if (kvm_ioctl(fd_.get(), kvm_set_cpuid2, buffer.get()) < 0) {
        return base::fail_errno(errno, "KVM refuses the CPUID of vCPU {}", index_);
    }
    return {};
}

void KvmVcpu::take_external(SplitIrqchip& chips) {
    if (chips.has_external() && run_->ready_for_interrupt_injection != 0) {
        kvm_interrupt interrupt{.irq = chips.acknowledge()};
        if (kvm_ioctl(fd_.get(), KVM_INTERRUPT, &interrupt) < 0) {
            base::log_error("KVM refuses external interrupt {:#x}: {}", interrupt.irq,
                            base::errno_text(errno));
        }
    }
    run_->request_interrupt_window = chips.has_external() ? 1 : 0;
}

KvmVcpu::Outcome KvmVcpu::run(io::IoClient& client) {
    if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
        if (errno == EINTR || errno == EAGAIN) {
            return {.exit = Exit::interrupted};
        }
        return stopped(VmStop::internal_error,
                       fmt::format("KVM_RUN of vCPU {} failed: {}{}", index_,
                                   base::errno_text(errno), describe_position()));
    }
    switch (run_->exit_reason) {
        case KVM_EXIT_IO:
            handle_port(client);
            return {};
        case KVM_EXIT_MMIO:
            handle_mmio(client);
            return {};
        case KVM_EXIT_INTR:
        case KVM_EXIT_IRQ_WINDOW_OPEN:
        case KVM_EXIT_HLT:
            return {.exit = Exit::interrupted};
        case KVM_EXIT_IOAPIC_EOI:
            return {.exit = Exit::end_of_interrupt, .vector = run_->eoi.vector};
        case KVM_EXIT_SHUTDOWN:
            return stopped(VmStop::triple_fault, fmt::format("vCPU {} shut down (triple fault){}",
                                                             index_, describe_position()));
        case KVM_EXIT_SYSTEM_EVENT:
            return stopped(VmStop::power_off,
                           fmt::format("system event {}", run_->system_event.type));
        case KVM_EXIT_INTERNAL_ERROR:
            return internal_error();
        case KVM_EXIT_FAIL_ENTRY:
            return stopped(
                VmStop::internal_error,
                fmt::format("the processor refused to enter the guest, hardware reason "
                            "{:#x}{}",
                            run_->fail_entry.hardware_entry_failure_reason, describe_position()));
        default:
            return stopped(
                VmStop::internal_error,
                fmt::format("KVM ended with exit reason {}, which nothing here asked for{}",
                            run_->exit_reason, describe_position()));
    }
}

void KvmVcpu::handle_port(io::IoClient& client) {
    auto* data = reinterpret_cast<std::uint8_t*>(run_) + run_->io.data_offset;
    const bool out = run_->io.direction == KVM_EXIT_IO_OUT;
    // A string instruction brings `count` units of one port at once; the kernel bounds it by the
    // page.
    for (std::uint32_t i = 0; i < run_->io.count; ++i, data += run_->io.size) {
        io::IoRequest request{.kind = io::IoKind::port,
                              .direction = out ? io::IoDirection::write : io::IoDirection::read,
                              .state = io::IoState::processing,
                              .size = run_->io.size,
                              .vcpu = static_cast<std::uint16_t>(index_),
                              .address = run_->io.port};
        if (out) {
            std::memcpy(&request.value, data, request.size);
        }
        count_request();
        client.handle(request);
        if (!out) {
            std::memcpy(data, &request.value, request.size);
        }
    }
}

void KvmVcpu::handle_mmio(io::IoClient& client) {
    const bool write = run_->mmio.is_write != 0;
    // A piece of an access that crosses a page can have any length: cut it into bus cycles.
    for (unsigned done = 0; done < run_->mmio.len;) {
        const auto size = static_cast<std::uint8_t>(std::bit_floor(run_->mmio.len - done));
        io::IoRequest request{.kind = io::IoKind::mmio,
                              .direction = write ? io::IoDirection::write : io::IoDirection::read,
                              .state = io::IoState::processing,
                              .size = size,
                              .vcpu = static_cast<std::uint16_t>(index_),
                              .address = run_->mmio.phys_addr + done};
        if (write) {
            std::memcpy(&request.value, run_->mmio.data + done, size);
        }
        count_request();
        client.handle(request);
        if (!write) {
            std::memcpy(run_->mmio.data + done, &request.value, size);
        }
        done += size;
    }
}

void KvmVcpu::complete_access() {
    interrupt();
    [[maybe_unused]] const int result = ::ioctl(fd_.get(), KVM_RUN, 0);  // EINTR, by design
}

KvmVcpu::Outcome KvmVcpu::stopped(VmStop reason, std::string detail) const {
    return {.exit = Exit::stopped, .reason = reason, .detail = std::move(detail)};
}

KvmVcpu::Outcome KvmVcpu::internal_error() const {
    std::string detail =
        fmt::format("KVM internal error {} on vCPU {}", run_->internal.suberror, index_);
    const unsigned count = std::min<unsigned>(run_->internal.ndata, 4);
    for (unsigned i = 0; i < count; ++i) {
        detail += fmt::format(" {:#x}", run_->internal.data[i]);
    }
    if (run_->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
        detail += " (an instruction it cannot emulate)";
    }
    return stopped(VmStop::internal_error, detail + describe_position());
}

std::string KvmVcpu::describe_position() const {
    kvm_regs regs{};
    kvm_sregs sregs{};
    if (kvm_ioctl(fd_.get(), KVM_GET_REGS, &regs) < 0 ||
        kvm_ioctl(fd_.get(), KVM_GET_SREGS, &sregs) < 0) {
        return "";
    }
    return fmt::format(
        "; rip {:#x} rsp {:#x} rflags {:#x} cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} "
        "efer {:#x} cs {:#x}",
        regs.rip, regs.rsp, regs.rflags, sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer,
        sregs.cs.selector);
}

}  // namespace cupule::hypervisor
