#include "hypervisor/acrn/acrn_vcpu_regs.h"

#include <cerrno>

namespace cupule::hypervisor::acrn {
namespace {

constexpr std::uint64_t cr0_pe = 1U << 0;
constexpr std::uint64_t cr0_nw = 1U << 29;
constexpr std::uint64_t cr0_cd = 1U << 30;
constexpr std::uint64_t cr0_pg = 1U << 31;
constexpr std::uint64_t cr4_pae = 1U << 5;
constexpr std::uint64_t efer_lme = 1U << 8;
constexpr std::uint64_t efer_lma = 1U << 10;

constexpr std::uint32_t flat_data_rights = 0xC093;
constexpr std::uint32_t real_data_rights = 0x93;
constexpr std::uint32_t table_limit = 0xFFFF;

Segment data_segment(std::uint16_t selector, bool is_protected) {
    if (is_protected) {
        return {.limit = 0xFFFF'FFFF, .selector = selector, .access_rights = flat_data_rights};
    }
    return {.base = std::uint64_t{selector} << 4,
            .limit = table_limit,
            .selector = selector,
            .access_rights = real_data_rights};
}

bool can_be_said(const Segment& segment, bool is_protected) {
    const Segment said = data_segment(segment.selector, is_protected);
    return said.base == segment.base && said.limit == segment.limit;
}

acrn_descriptor_ptr table_to_acrn(const DescriptorTable& table) {
    acrn_descriptor_ptr result{};
    result.limit = table.limit;
    result.base = table.base;
    return result;
}

}  // namespace

base::Result<acrn_vcpu_regs> to_acrn(const VcpuState& state) {
    const bool is_protected = (state.cr0 & cr0_pe) != 0;
    for (const Segment* segment : {&state.ds, &state.es, &state.fs, &state.gs, &state.ss}) {
        if (!can_be_said(*segment, is_protected)) {
            return base::fail(
                "ACRN cannot start a processor with a data segment of base {:#x} and limit {:#x}",
                segment->base, segment->limit);
        }
    }
    acrn_vcpu_regs result{};
    acrn_regs& regs = result.vcpu_regs;
    regs.gprs.rax = state.rax;
    regs.gprs.rcx = state.rcx;
    regs.gprs.rdx = state.rdx;
    regs.gprs.rbx = state.rbx;
    regs.gprs.rsp = state.rsp;
    regs.gprs.rbp = state.rbp;
    regs.gprs.rsi = state.rsi;
    regs.gprs.rdi = state.rdi;
    regs.gdt = table_to_acrn(state.gdt);
    regs.idt = table_to_acrn(state.idt);
    regs.rip = state.rip;
    regs.cs_base = state.cs.base;
    regs.cr0 = state.cr0;
    regs.cr4 = state.cr4;
    regs.cr3 = state.cr3;
    regs.ia32_efer = state.efer;
    regs.rflags = state.rflags;
    regs.cs_ar = state.cs.access_rights;
    regs.cs_limit = state.cs.limit;
    regs.cs_sel = state.cs.selector;
    regs.ss_sel = state.ss.selector;
    regs.ds_sel = state.ds.selector;
    regs.es_sel = state.es.selector;
    regs.fs_sel = state.fs.selector;
    regs.gs_sel = state.gs.selector;
    regs.ldt_sel = state.ldt.selector;
    regs.tr_sel = state.tr.selector;
    return result;
}

base::Result<VcpuState> from_acrn(const acrn_regs& regs) {
    const bool is_protected = (regs.cr0 & cr0_pe) != 0;
    const bool is_paged = (regs.cr0 & cr0_pg) != 0;
    const bool is_long = (regs.ia32_efer & efer_lme) != 0 && is_paged;
    if ((regs.cr0 >> 32) != 0 || (is_paged && !is_protected) ||
        ((regs.cr0 & cr0_nw) != 0 && (regs.cr0 & cr0_cd) == 0) ||
        (is_long && (regs.cr4 & cr4_pae) == 0)) {
        return base::fail_errno(EINVAL, "cr0 {:#x}, cr4 {:#x}, efer {:#x} do not go together",
                                regs.cr0, regs.cr4, regs.ia32_efer);
    }
    VcpuState state;
    state.rax = regs.gprs.rax;
    state.rcx = regs.gprs.rcx;
    state.rdx = regs.gprs.rdx;
    state.rbx = regs.gprs.rbx;
    state.rsp = regs.gprs.rsp;
    state.rbp = regs.gprs.rbp;
    state.rsi = regs.gprs.rsi;
    state.rdi = regs.gprs.rdi;
    state.rip = regs.rip;
    // Bit 1 of the flags is always set in a processor, whatever a client writes.
    state.rflags = regs.rflags | 0x2;
    state.cr0 = regs.cr0;
    state.cr3 = regs.cr3;
    state.cr4 = regs.cr4;
    state.efer = regs.ia32_efer | (is_long ? efer_lma : 0);
    state.cs = {.base = regs.cs_base,
                .limit = regs.cs_limit,
                .selector = regs.cs_sel,
                .access_rights = regs.cs_ar};
    state.ds = data_segment(regs.ds_sel, is_protected);
    state.es = data_segment(regs.es_sel, is_protected);
    state.fs = data_segment(regs.fs_sel, is_protected);
    state.gs = data_segment(regs.gs_sel, is_protected);
    state.ss = data_segment(regs.ss_sel, is_protected);
    state.tr.selector = regs.tr_sel;
    state.ldt.selector = regs.ldt_sel;
    state.gdt = {.base = regs.gdt.base, .limit = regs.gdt.limit};
    state.idt = {.base = regs.idt.base, .limit = regs.idt.limit};
    return state;
}

}  // namespace cupule::hypervisor::acrn
