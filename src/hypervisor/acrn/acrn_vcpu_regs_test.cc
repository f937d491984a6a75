#include "hypervisor/acrn/acrn_vcpu_regs.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace cupule::hypervisor::acrn {
namespace {

VcpuState long_mode_state() {
    VcpuState state;
    state.rsi = 0x7000;
    state.rip = 0x100'0200;
    state.cr0 = 0x8000'0011;
    state.cr3 = 0x9000;
    state.cr4 = 0x20;
    state.efer = 0x500;
    state.cs = {.limit = 0xFFFF'FFFF, .selector = 0x10, .access_rights = 0xA09B};
    const Segment data{.limit = 0xFFFF'FFFF, .selector = 0x18, .access_rights = 0xC093};
    state.ds = state.es = state.fs = state.gs = state.ss = data;
    state.gdt = {.base = 0x8000, .limit = 0x1F};
    return state;
}

void expect_same(const VcpuState& a, const VcpuState& b) {
    EXPECT_EQ(a.rsi, b.rsi);
    EXPECT_EQ(a.rip, b.rip);
    EXPECT_EQ(a.rflags, b.rflags);
    EXPECT_EQ(a.cr0, b.cr0);
    EXPECT_EQ(a.cr3, b.cr3);
    EXPECT_EQ(a.cr4, b.cr4);
    EXPECT_EQ(a.efer, b.efer);
    EXPECT_EQ(a.cs.base, b.cs.base);
    EXPECT_EQ(a.cs.limit, b.cs.limit);
    EXPECT_EQ(a.cs.selector, b.cs.selector);
    EXPECT_EQ(a.cs.access_rights, b.cs.access_rights);
    EXPECT_EQ(a.ss.base, b.ss.base);
    EXPECT_EQ(a.ss.limit, b.ss.limit);
    EXPECT_EQ(a.ss.selector, b.ss.selector);
    EXPECT_EQ(a.ss.access_rights, b.ss.access_rights);
    EXPECT_EQ(a.gdt.base, b.gdt.base);
    EXPECT_EQ(a.gdt.limit, b.gdt.limit);
}

TEST(AcrnVcpuRegs, LongModeSurvivesTheWayToTheHypervisor) {
    const auto regs = to_acrn(long_mode_state());
    ASSERT_TRUE(regs);
    EXPECT_EQ(regs->vcpu_regs.cs_ar, 0xA09BU);
    const auto back = from_acrn(regs->vcpu_regs);
    ASSERT_TRUE(back);
    expect_same(*back, long_mode_state());
}

TEST(AcrnVcpuRegs, TheResetVectorSurvivesTheWayToTheHypervisor) {
    const auto regs = to_acrn(VcpuState{});
    ASSERT_TRUE(regs);
    EXPECT_EQ(regs->vcpu_regs.cs_base, 0xFFFF'0000U);
    const auto back = from_acrn(regs->vcpu_regs);
    ASSERT_TRUE(back);
    expect_same(*back, VcpuState{});
}

TEST(AcrnVcpuRegs, LongModeIsActiveWhereItIsEnabledWithPaging) {
    auto regs = to_acrn(long_mode_state());
    ASSERT_TRUE(regs);
    regs->vcpu_regs.ia32_efer = 0x100;
    const auto state = from_acrn(regs->vcpu_regs);
    ASSERT_TRUE(state);
    EXPECT_EQ(state->efer, 0x500U);
}

TEST(AcrnVcpuRegs, ControlRegistersThatNoProcessorTakesAreInvalid) {
    const auto good = to_acrn(long_mode_state());
    ASSERT_TRUE(good);
    for (const auto spoil : {+[](acrn_regs& regs) { regs.cr0 = 0x8000'0000; },
                             +[](acrn_regs& regs) { regs.cr0 = 0x2000'0011; },
                             +[](acrn_regs& regs) { regs.cr0 |= std::uint64_t{1} << 32; },
                             +[](acrn_regs& regs) { regs.cr4 = 0; }}) {
        acrn_regs regs = good->vcpu_regs;
        spoil(regs);
        const auto state = from_acrn(regs);
        ASSERT_FALSE(state);
        EXPECT_EQ(state.error().code, EINVAL);
    }
}

TEST(AcrnVcpuRegs, AStateWithOtherDataSegmentsIsRefused) {
    VcpuState state = long_mode_state();
    state.ds.base = 0x1000;
    EXPECT_FALSE(to_acrn(state));
}

}  // namespace
}  // namespace cupule::hypervisor::acrn
