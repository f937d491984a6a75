#include "app/probe/kvm_guest.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/file_descriptor.h"

// The guest. It reports how far it came by writes to port 0x10; its addresses are those of the
// enum below. R9D tells whether it has XSAVE.
asm(R"(
    .pushsection .rodata
    .balign 16
    .globl cupule_probe_guest_begin
    .globl cupule_probe_guest_end
    .globl cupule_probe_guest_breakpoint
cupule_probe_guest_begin:
    movb $1, %al
    outb %al, $0x10
    xorl %eax, %eax
    xorl %edx, %edx
    movl $0x1234, %ebx
    xorl %ecx, %ecx
    lock cmpxchg16b 0x7000
    jnz 1f
    movb $2, %al
    outb %al, $0x10
    xorl %r8d, %r8d
    int3
    cmpl $0x33, %r8d
    jne 1f
    movb $3, %al
    outb %al, $0x10
    testl %r9d, %r9d
    jz 2f
    xorl %ecx, %ecx
    xorl %edx, %edx
    movl $3, %eax
    xsetbv
    movl $3, %eax
    xorl %edx, %edx
    xrstor 0x6000
    jmp 3f
2:  fxrstor 0x6000
3:  movb $4, %al
    outb %al, $0x10
1:  hlt
    jmp 1b
cupule_probe_guest_breakpoint:
    movl $0x33, %r8d
    iretq
cupule_probe_guest_end:
    .popsection
)");

extern "C" {
extern const std::uint8_t cupule_probe_guest_begin[];
extern const std::uint8_t cupule_probe_guest_breakpoint[];
extern const std::uint8_t cupule_probe_guest_end[];
}

namespace cupule::app {
namespace {

using base::fail;
using base::fail_errno;
using base::FileDescriptor;
using base::Result;

// Where things are in the guest's memory.
enum GuestAddress : std::uint64_t {
    pml4_address = 0x1000,
    pdpt_address = 0x2000,
    page_directory_address = 0x3000,
    idt_address = 0x5000,
    code_address = 0x8000,
    stack_address = 0xB000,
    memory_size = 0x10000,
};

constexpr std::uint16_t code_selector = 0x08;
constexpr std::uint16_t data_selector = 0x10;
constexpr std::uint8_t stage_done = 4;
constexpr std::uint32_t xsave_leaf = 0xD;
constexpr std::uint32_t x87_and_sse = 3;
constexpr std::uint32_t xsave_feature = 1U << 26;  // leaf 1, ECX
constexpr std::uint64_t cr4_basic = 0x620;         // OSXMMEXCPT, OSFXSR, PAE
constexpr std::uint64_t cr4_osxsave = 0x40000;

/// struct kvm_cpuid2 as C lays it out. The headers' own is four bytes too long in C++ (the empty
/// struct in __DECLARE_FLEX_ARRAY has a size there), and so are the numbers of its ioctls.
struct CpuidTable {
    std::uint32_t nent = 256;
    std::uint32_t padding = 0;
    std::array<kvm_cpuid_entry2, 256> entries{};
};
static_assert(offsetof(CpuidTable, entries) == 8);
constexpr unsigned long get_supported_cpuid = _IOWR(KVMIO, 0x05, std::uint64_t);
constexpr unsigned long set_cpuid2 = _IOW(KVMIO, 0x90, std::uint64_t);

class ProbeGuest {
  public:
    ProbeGuest() = default;
    ProbeGuest(const ProbeGuest&) = delete;
    ProbeGuest& operator=(const ProbeGuest&) = delete;
    ~ProbeGuest() {
        if (run_ != nullptr) {
            ::munmap(run_, run_size_);
        }
        if (memory_ != nullptr) {
            ::munmap(memory_, memory_size);
        }
    }

    Result<void> create(const std::string& device) {
        CUPULE_TRY_ASSIGN(kvm_, base::open_file(device, O_RDWR));
        vm_ = FileDescriptor(::ioctl(kvm_.get(), KVM_CREATE_VM, 0));
        if (!vm_) {
            return fail_errno(errno, "KVM_CREATE_VM");
        }
        void* memory = ::mmap(nullptr, memory_size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            return fail_errno(errno, "no memory for the guest");
        }
        memory_ = static_cast<std::uint8_t*>(memory);
        fill_memory();
        kvm_userspace_memory_region region{};
        region.memory_size = memory_size;
        region.userspace_addr = reinterpret_cast<std::uint64_t>(memory);
        if (::ioctl(vm_.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0) {
            return fail_errno(errno, "KVM_SET_USER_MEMORY_REGION");
        }
        return create_vcpu();
    }

    /// Runs until the guest halts.
    Result<void> run() {
        constexpr int exits_max = 64;
        std::uint8_t stage = 0;
        for (int i = 0; i < exits_max; ++i) {
            if (::ioctl(vcpu_.get(), KVM_RUN, 0) != 0) {
                if (errno == EINTR) {
                    continue;
                }
                return fail_errno(errno, "KVM_RUN at {}", next_instruction(stage));
            }
            switch (run_->exit_reason) {
                case KVM_EXIT_IO:
                    stage = reinterpret_cast<const std::uint8_t*>(run_)[run_->io.data_offset];
                    break;
                case KVM_EXIT_HLT:
                    if (stage == stage_done) {
                        return {};
                    }
                    return fail("a test guest went wrong at {}", next_instruction(stage));
                case KVM_EXIT_INTERNAL_ERROR:
                    return fail("a test guest ended with an internal error of KVM at {}",
                                next_instruction(stage));
                case KVM_EXIT_SHUTDOWN:
                    return fail("a test guest ended with a triple fault at {}",
                                next_instruction(stage));
                default:
                    return fail("a test guest ended with KVM's exit reason {} at {}",
                                run_->exit_reason, next_instruction(stage));
            }
        }
        return fail("a test guest made no progress at {}", next_instruction(stage));
    }

  private:
    /// What the guest was about to do when it had reported `stage`.
    std::string_view next_instruction(std::uint8_t stage) const {
        const std::array<std::string_view, 4> names{"the first instruction in long mode",
                                                    "cmpxchg16b", "int3",
                                                    has_xsave_ ? "xrstor" : "fxrstor"};
        return names.at(stage < names.size() ? stage : names.size() - 1);
    }

    void store_64(std::uint64_t address, std::uint64_t value) {
        std::memcpy(memory_ + address, &value, sizeof(value));
    }

    void fill_memory() {
        constexpr std::uint64_t present_writable = 3;
        constexpr std::uint64_t large_page = 0x80;
        store_64(pml4_address, pdpt_address | present_writable);
        store_64(pdpt_address, page_directory_address | present_writable);
        store_64(page_directory_address, large_page | present_writable);
        const std::uint64_t handler =
            code_address +
            static_cast<std::uint64_t>(cupule_probe_guest_breakpoint - cupule_probe_guest_begin);
        // A present 64-bit interrupt gate (SDM volume 3, 6.14.1) for vector 3.
        constexpr std::uint64_t interrupt_gate = 0x8E00;
        store_64(idt_address + 3 * 16, (handler & 0xFFFF) | std::uint64_t{code_selector} << 16 |
                                           interrupt_gate << 32 | (handler >> 16 & 0xFFFF) << 48);
        // The descriptors that int3 and iretq load again: 64-bit code, data.
        constexpr std::uint64_t gdt = 0x4000;
        store_64(gdt + code_selector, 0x00AF9B000000FFFF);
        store_64(gdt + data_selector, 0x00CF93000000FFFF);
        std::memcpy(memory_ + code_address, cupule_probe_guest_begin,
                    static_cast<std::size_t>(cupule_probe_guest_end - cupule_probe_guest_begin));
    }

    Result<void> create_vcpu() {
        vcpu_ = FileDescriptor(::ioctl(vm_.get(), KVM_CREATE_VCPU, 0));
        if (!vcpu_) {
            return fail_errno(errno, "KVM_CREATE_VCPU");
        }
        const int size = ::ioctl(kvm_.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
        if (size < static_cast<int>(sizeof(kvm_run))) {
            return fail("KVM_GET_VCPU_MMAP_SIZE gives {}", size);
        }
        run_size_ = static_cast<std::size_t>(size);
        void* run = ::mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_.get(), 0);
        if (run == MAP_FAILED) {
            return fail_errno(errno, "cannot map the vCPU");
        }
        run_ = static_cast<kvm_run*>(run);
        CUPULE_TRY(set_cpuid());
        return set_registers();
    }

    /// Long mode, and XSAVE with x87 and SSE state where KVM offers it: a hypervisor below it may
    /// withhold XSAVE. All that the host supports would be refused
    /// where a process has to ask for some of it first (AMX).
    Result<void> set_cpuid() {
        CpuidTable cpuid;
        if (::ioctl(kvm_.get(), get_supported_cpuid, &cpuid) != 0) {
            return fail_errno(errno, "KVM_GET_SUPPORTED_CPUID");
        }
        std::uint32_t kept = 0;
        for (std::uint32_t i = 0; i < cpuid.nent && i < cpuid.entries.size(); ++i) {
            kvm_cpuid_entry2 entry = cpuid.entries.at(i);
            if (!is_needed(entry)) {
                continue;
            }
            if (entry.function == 1) {
                has_xsave_ = (entry.ecx & xsave_feature) != 0;
            }
            if (entry.function == xsave_leaf) {
                entry.eax &= x87_and_sse;
                entry.edx = 0;
            }
            cpuid.entries.at(kept++) = entry;
        }
        cpuid.nent = kept;
        if (::ioctl(vcpu_.get(), set_cpuid2, &cpuid) != 0) {
            return fail_errno(errno, "KVM_SET_CPUID2");
        }
        return {};
    }

    static bool is_needed(const kvm_cpuid_entry2& entry) {
        return entry.function == 0 || entry.function == 1 || entry.function == 0x80000000 ||
               entry.function == 0x80000001 || (entry.function == xsave_leaf && entry.index == 0);
    }

    Result<void> set_registers() {
        kvm_sregs special{};
        if (::ioctl(vcpu_.get(), KVM_GET_SREGS, &special) != 0) {
            return fail_errno(errno, "KVM_GET_SREGS");
        }
        kvm_segment code{};
        code.limit = 0xFFFFFFFF;
        code.selector = code_selector;
        code.type = 11;
        code.present = 1;
        code.s = 1;
        code.l = 1;
        code.g = 1;
        kvm_segment data = code;
        data.selector = data_selector;
        data.type = 3;
        data.l = 0;
        data.db = 1;
        special.cs = code;
        special.ds = special.es = special.ss = special.fs = special.gs = data;
        special.gdt = {.base = 0x4000, .limit = 0x17, .padding = {}};
        special.idt = {.base = idt_address, .limit = 4 * 16 - 1, .padding = {}};
        special.cr0 = 0x80050033;  // PG, AM, WP, NE, ET, MP, PE
        special.cr3 = pml4_address;
        special.cr4 = cr4_basic | (has_xsave_ ? cr4_osxsave : 0);
        special.efer = 0x500;  // LMA, LME
        if (::ioctl(vcpu_.get(), KVM_SET_SREGS, &special) != 0) {
            return fail_errno(errno, "KVM_SET_SREGS (long mode{})",
                              has_xsave_ ? " with XSAVE" : "");
        }
        kvm_regs registers{};
        registers.rip = code_address;
        registers.rsp = stack_address;
        registers.rflags = 2;
        registers.r9 = has_xsave_ ? 1 : 0;
        if (::ioctl(vcpu_.get(), KVM_SET_REGS, &registers) != 0) {
            return fail_errno(errno, "KVM_SET_REGS");
        }
        return {};
    }

    FileDescriptor kvm_;
    FileDescriptor vm_;
    FileDescriptor vcpu_;
    std::uint8_t* memory_ = nullptr;
    kvm_run* run_ = nullptr;
    std::size_t run_size_ = 0;
    bool has_xsave_ = false;
};

constexpr std::string_view success = "ok";

[[noreturn]] void child_main(const std::string& device, int result_fd) {
    ProbeGuest guest;
    Result<void> result = guest.create(device);
    if (result) {
        result = guest.run();
    }
    const std::string text = result ? std::string(success) : result.error().message;
    [[maybe_unused]] const ssize_t written = ::write(result_fd, text.data(), text.size());
    ::_exit(0);
}

std::int64_t now_ms() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

/// What the child has to say; empty when it says nothing in time or dies.
std::string read_answer(int fd, int timeout_ms) {
    const std::int64_t end_ms = now_ms() + timeout_ms;
    for (;;) {
        pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
        const std::int64_t left_ms = end_ms - now_ms();
        const int count = ::poll(&ready, 1, left_ms > 0 ? static_cast<int>(left_ms) : 0);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return {};
        }
        // One write of less than PIPE_BUF bytes comes in one piece.
        std::array<char, 1024> buffer{};
        const ssize_t size = ::read(fd, buffer.data(), buffer.size());
        return size > 0 ? std::string(buffer.data(), static_cast<std::size_t>(size)) : "";
    }
}

}  // namespace

Result<void> try_kvm_guest(const std::string& device, int timeout_ms) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return fail_errno(errno, "cannot make a pipe");
    }
    const FileDescriptor reader(ends[0]);
    FileDescriptor writer(ends[1]);
    const pid_t child = ::fork();
    if (child < 0) {
        return fail_errno(errno, "cannot start a process for the test guest");
    }
    if (child == 0) {
        child_main(device, writer.get());
    }
    writer.close();
    const std::string answer = read_answer(reader.get(), timeout_ms);
    ::kill(child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (answer == success) {
        return {};
    }
    if (answer.empty()) {
        return fail("a test guest gave no answer within {} ms", timeout_ms);
    }
    return fail("{}", answer);
}

}  // namespace cupule::app
