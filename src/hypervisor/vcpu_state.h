#pragma once

#include <array>
#include <cstdint>

namespace cupule::hypervisor {

/// A segment register with its hidden part. `access_rights` in the VMCS layout (Intel SDM vol. 3,
/// 25.4.1): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.
struct Segment {
    std::uint64_t base = 0;
    std::uint32_t limit = 0;
    std::uint16_t selector = 0;
    std::uint32_t access_rights = 0;
};

struct DescriptorTable {
    std::uint64_t base = 0;
    std::uint16_t limit = 0;
};

/// How the boot processor starts: what every boot protocol can say, and what ACRN's SET_VCPU_REGS
/// carries. Everything else has its power-on value.
struct VcpuState {
    std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rsp = 0, rbp = 0;
    std::uint64_t rip = 0xFFF0;
    std::uint64_t rflags = 0x2;
    std::uint64_t cr0 = 0x6000'0010;
    std::uint64_t cr3 = 0;
    std::uint64_t cr4 = 0;
    std::uint64_t efer = 0;
    Segment cs{.base = 0xFFFF'0000, .limit = 0xFFFF, .selector = 0xF000, .access_rights = 0x9B};
    Segment ds{.limit = 0xFFFF, .access_rights = 0x93};
    Segment es{.limit = 0xFFFF, .access_rights = 0x93};
    Segment fs{.limit = 0xFFFF, .access_rights = 0x93};
    Segment gs{.limit = 0xFFFF, .access_rights = 0x93};
    Segment ss{.limit = 0xFFFF, .access_rights = 0x93};
    Segment tr{.limit = 0xFFFF, .access_rights = 0x8B};
    Segment ldt{.limit = 0xFFFF, .access_rights = 0x82};
    DescriptorTable gdt{.limit = 0xFFFF};
    DescriptorTable idt{.limit = 0xFFFF};
};

}  // namespace cupule::hypervisor
