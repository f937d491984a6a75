#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <span>
#include <vector>

namespace cupule::backend {

/// Writes a program of the kernel's eBPF machine (Documentation/bpf/standardization of Linux), one
/// named helper for each kind of instruction that ours use. Jumps go forward, to labels.
class BpfAssembler {
  public:
    /// Below the stack's end are 512 bytes. Calls keep r6 to r9.
    enum class Register : std::uint8_t { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, stack_end };

    enum class Width : std::uint8_t { byte = BPF_B, half = BPF_H, word = BPF_W };
    using Label = std::size_t;

    /// A place that is not known yet.
    Label label();
    /// It is here.
    void bind(Label label);

    void copy(Register to, Register from) { emit(BPF_ALU64 | BPF_MOV | BPF_X, to, from); }
    void set(Register to, std::int32_t value) {
        emit(BPF_ALU64 | BPF_MOV | BPF_K, to, Register::r0, 0, value);
    }
    void add(Register to, Register from) { emit(BPF_ALU64 | BPF_ADD | BPF_X, to, from); }
    void add(Register to, std::int32_t value) {
        emit(BPF_ALU64 | BPF_ADD | BPF_K, to, Register::r0, 0, value);
    }
    void exclusive_or(Register to, Register from) { emit(BPF_ALU64 | BPF_XOR | BPF_X, to, from); }
    void bit_and(Register to, std::int32_t value) {
        emit(BPF_ALU64 | BPF_AND | BPF_K, to, Register::r0, 0, value);
    }
    void shift_left(Register to, std::int32_t bits) {
        emit(BPF_ALU64 | BPF_LSH | BPF_K, to, Register::r0, 0, bits);
    }
    void shift_right(Register to, std::int32_t bits) {
        emit(BPF_ALU64 | BPF_RSH | BPF_K, to, Register::r0, 0, bits);
    }
    /// In the byte order of this machine, with zeros above.
    void load(Width width, Register to, Register base, std::int16_t offset) {
        emit(static_cast<std::uint8_t>(BPF_LDX | BPF_MEM | static_cast<std::uint8_t>(width)), to,
             base, offset);
    }
    /// The address of an array map's only value.
    void load_map_value(Register to, int map);
    void call(std::int32_t helper) {
        emit(BPF_JMP | BPF_CALL, Register::r0, Register::r0, 0, helper);
    }
    void jump(Label to) { emit_jump(BPF_JMP | BPF_JA, Register::r0, 0, to); }
    void jump_if(Register value, std::int32_t equals, Label to) {
        emit_jump(BPF_JMP | BPF_JEQ | BPF_K, value, equals, to);
    }
    void jump_unless(Register value, std::int32_t equals, Label to) {
        emit_jump(BPF_JMP | BPF_JNE | BPF_K, value, equals, to);
    }
    void jump_if_below(Register value, std::int32_t limit, Label to) {
        emit_jump(BPF_JMP | BPF_JLT | BPF_K, value, limit, to);
    }
    void exit() { emit(BPF_JMP | BPF_EXIT, Register::r0, Register::r0); }

    /// The program: every label that a jump names is bound.
    std::span<const bpf_insn> finish();

  private:
    struct Jump {
        std::size_t from;
        Label to;
    };
    void emit(std::uint8_t code, Register to, Register from, std::int16_t offset = 0,
              std::int32_t value = 0);
    void emit_jump(std::uint8_t code, Register value, std::int32_t limit, Label to);

    std::vector<bpf_insn> program_;
    std::vector<std::size_t> labels_;
    std::vector<Jump> jumps_;
};

}  // namespace cupule::backend
