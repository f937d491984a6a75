// The state of a vCPU as a whole: what it had when new, back to it, and how it boots.

#include <linux/kvm.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "hypervisor/kvm/kvm_vcpu.h"

namespace cupule::hypervisor {
namespace {

kvm_segment to_kvm(const Segment& segment) {
    const std::uint32_t rights = segment.access_rights;
    kvm_segment result{};
    result.base = segment.base;
    result.limit = segment.limit;
    result.selector = segment.selector;
    result.type = rights & 0xF;
    result.s = (rights >> 4) & 1;
    result.dpl = (rights >> 5) & 3;
    result.present = (rights >> 7) & 1;
    result.avl = (rights >> 12) & 1;
    result.l = (rights >> 13) & 1;
    result.db = (rights >> 14) & 1;
    result.g = (rights >> 15) & 1;
    result.unusable = (rights >> 16) & 1;
    return result;
}

kvm_dtable to_kvm(const DescriptorTable& table) {
    kvm_dtable result{};
    result.base = table.base;
    result.limit = table.limit;
    return result;
}

}  // namespace

struct KvmVcpu::PowerOnState {
    kvm_regs regs{};
    kvm_sregs sregs{};
    kvm_fpu fpu{};
    kvm_xcrs xcrs{};
    kvm_debugregs debug{};
    kvm_vcpu_events events{};
    kvm_lapic_state lapic{};
    kvm_mp_state mp{};
    std::vector<kvm_msr_entry> msrs{};

    /// Calls `use(request_get, request_set, what, field)` for each part, in the order KVM wants on
    /// the way in: the APIC base (sregs) before the APIC.
    template <class Use>
    base::Result<void> each(Use use) {
        CUPULE_TRY(use(KVM_GET_SREGS, KVM_SET_SREGS, "system registers", sregs));
        CUPULE_TRY(use(KVM_GET_REGS, KVM_SET_REGS, "registers", regs));
        CUPULE_TRY(use(KVM_GET_FPU, KVM_SET_FPU, "floating point registers", fpu));
        CUPULE_TRY(use(KVM_GET_XCRS, KVM_SET_XCRS, "extended control registers", xcrs));
        CUPULE_TRY(use(KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, "debug registers", debug));
        CUPULE_TRY(use(KVM_GET_LAPIC, KVM_SET_LAPIC, "local APIC", lapic));
        CUPULE_TRY(use(KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, "pending events", events));
        return use(KVM_GET_MP_STATE, KVM_SET_MP_STATE, "processor state", mp);
    }
};

base::Result<std::unique_ptr<KvmVcpu>> KvmVcpu::create(const KvmDevice& device, int vm_fd,
                                                       unsigned index, std::uint32_t apic_id) {
    base::FileDescriptor fd(kvm_ioctl(vm_fd, KVM_CREATE_VCPU, std::uintptr_t{apic_id}));
    if (!fd) {
        return base::fail_errno(errno, "KVM cannot create vCPU {} (APIC id {})", index, apic_id);
    }
    void* run = mmap(nullptr, device.run_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (run == MAP_FAILED) {
        return base::fail_errno(errno, "cannot map the run page of vCPU {}", index);
    }
    return std::unique_ptr<KvmVcpu>(
        new KvmVcpu(std::move(fd), static_cast<kvm_run*>(run), device.run_size(), index));
}

KvmVcpu::KvmVcpu(base::FileDescriptor fd, kvm_run* run, std::size_t run_size, unsigned index)
    : fd_(std::move(fd)),
      run_(run),
      run_size_(run_size),
      index_(index),
      power_on_(std::make_unique<PowerOnState>()) {}

KvmVcpu::~KvmVcpu() {
    munmap(run_, run_size_);
}

base::Result<void> KvmVcpu::keep_power_on_state(const std::vector<std::uint32_t>& msr_indices) {
    CUPULE_TRY(power_on_->each([&](unsigned long get, unsigned long /*set*/, const char* what,
                                   auto& field) -> base::Result<void> {
        if (kvm_ioctl(fd_.get(), get, &field) < 0) {
            return base::fail_errno(errno, "KVM does not give the {} of vCPU {}", what, index_);
        }
        return {};
    }));
    keep_msrs(msr_indices);
    return {};
}

void KvmVcpu::keep_msrs(const std::vector<std::uint32_t>& indices) {
    power_on_->msrs.clear();
    auto buffer = std::make_unique<KvmList<kvm_msr_entry, msr_entries_max>>();
    std::size_t next = 0;
    while (next < indices.size()) {
        const std::size_t count = std::min(indices.size() - next, msr_entries_max);
        buffer->count = static_cast<std::uint32_t>(count);
        for (std::size_t i = 0; i < count; ++i) {
            buffer->entries[i] = {.index = indices[next + i], .reserved = 0, .data = 0};
        }
        const int got = kvm_ioctl(fd_.get(), kvm_get_msrs, buffer.get());
        const std::size_t done = got < 0 ? 0 : static_cast<std::size_t>(got);
        power_on_->msrs.insert(power_on_->msrs.end(), buffer->entries, buffer->entries + done);
        // KVM stops at one that it lists and this vCPU does not have: without that one.
        next += done < count ? done + 1 : done;
    }
}

base::Result<void> KvmVcpu::reset() {
    CUPULE_TRY(power_on_->each([&](unsigned long /*get*/, unsigned long set, const char* what,
                                   auto& field) -> base::Result<void> {
        // A host without XSAVE gives an empty list of these and takes none back.
        if (set == KVM_SET_XCRS && power_on_->xcrs.nr_xcrs == 0) {
            return {};
        }
        if (kvm_ioctl(fd_.get(), set, &field) < 0) {
            return base::fail_errno(errno, "KVM refuses to reset the {} of vCPU {}", what, index_);
        }
        return {};
    }));
    restore_msrs();
    return {};
}

void KvmVcpu::restore_msrs() {
    auto buffer = std::make_unique<KvmList<kvm_msr_entry, msr_entries_max>>();
    std::size_t next = 0;
    while (next < power_on_->msrs.size()) {
        const std::size_t count = std::min(power_on_->msrs.size() - next, msr_entries_max);
        buffer->count = static_cast<std::uint32_t>(count);
        std::copy_n(power_on_->msrs.begin() + static_cast<std::ptrdiff_t>(next), count,
                    buffer->entries);
        const int done = kvm_ioctl(fd_.get(), kvm_set_msrs, buffer.get());
        next += done < 0 ? 0 : static_cast<std::size_t>(done);
        if (done < static_cast<int>(count)) {
            // A host may refuse some (read-only feature MSRs): those keep their value by
            // themselves.
            base::log_debug("vCPU {}: MSR {:#x} is not writable on this host", index_,
                            power_on_->msrs[next].index);
            ++next;
        }
    }
}

base::Result<void> KvmVcpu::set_boot_state(const VcpuState& state) {
    kvm_regs regs{};
    regs.rax = state.rax;
    regs.rbx = state.rbx;
    regs.rcx = state.rcx;
    regs.rdx = state.rdx;
    regs.rsi = state.rsi;
    regs.rdi = state.rdi;
    regs.rsp = state.rsp;
    regs.rbp = state.rbp;
    regs.rip = state.rip;
    regs.rflags = state.rflags;
    kvm_sregs sregs = power_on_->sregs;
    sregs.cr0 = state.cr0;
    sregs.cr3 = state.cr3;
    sregs.cr4 = state.cr4;
    sregs.efer = state.efer;
    sregs.cs = to_kvm(state.cs);
    sregs.ds = to_kvm(state.ds);
    sregs.es = to_kvm(state.es);
    sregs.fs = to_kvm(state.fs);
    sregs.gs = to_kvm(state.gs);
    sregs.ss = to_kvm(state.ss);
    sregs.tr = to_kvm(state.tr);
    sregs.ldt = to_kvm(state.ldt);
    sregs.gdt = to_kvm(state.gdt);
    sregs.idt = to_kvm(state.idt);
    if (kvm_ioctl(fd_.get(), KVM_SET_SREGS, &sregs) < 0) {
        return base::fail_errno(errno, "KVM refuses the boot state (system registers) of vCPU {}",
                                index_);
    }
    if (kvm_ioctl(fd_.get(), KVM_SET_REGS, &regs) < 0) {
        return base::fail_errno(errno, "KVM refuses the boot state (registers) of vCPU {}", index_);
    }
    return {};
}

}  // namespace cupule::hypervisor
