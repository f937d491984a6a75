#include "backend/bpf_assembler.h"

#include "base/assert.h"

namespace cupule::backend {

void BpfAssembler::emit(std::uint8_t code, Register to, Register from, std::int16_t offset,
                        std::int32_t value) {
    bpf_insn instruction{};
    instruction.code = code;
    instruction.dst_reg = static_cast<std::uint8_t>(to) & 0xF;
    instruction.src_reg = static_cast<std::uint8_t>(from) & 0xF;
    instruction.off = offset;
    instruction.imm = value;
    program_.push_back(instruction);
}

void BpfAssembler::emit_jump(std::uint8_t code, Register value, std::int32_t limit, Label to) {
    jumps_.push_back({.from = program_.size(), .to = to});
    emit(code, value, Register::r0, 0, limit);
}

BpfAssembler::Label BpfAssembler::label() {
    labels_.push_back(0);
    return labels_.size() - 1;
}

void BpfAssembler::bind(Label label) {
    labels_[label] = program_.size();
}

void BpfAssembler::load_map_value(Register to, int map) {
    // Two places for one instruction: the descriptor, then the offset in the value.
    constexpr Register is_map_value{BPF_PSEUDO_MAP_VALUE};
    emit(BPF_LD | BPF_DW | BPF_IMM, to, is_map_value, 0, map);
    emit(0, Register::r0, Register::r0);
}

std::span<const bpf_insn> BpfAssembler::finish() {
    for (const Jump& jump : jumps_) {
        CUPULE_ASSERT(labels_[jump.to] > jump.from);
        // Counted from the instruction behind the jump.
        program_[jump.from].off = static_cast<std::int16_t>(labels_[jump.to] - jump.from - 1);
    }
    jumps_.clear();
    return program_;
}

}  // namespace cupule::backend
