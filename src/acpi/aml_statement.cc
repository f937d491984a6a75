#include "acpi/aml_statement.h"

#include "base/assert.h"

namespace cupule::acpi::aml {

namespace {

constexpr std::uint8_t extended_prefix = 0x5B;

enum class Opcode : std::uint8_t {
    local0 = 0x60,
    arg0 = 0x68,
    store = 0x70,
    add = 0x72,
    subtract = 0x74,
    increment = 0x75,
    decrement = 0x76,
    shift_left = 0x79,
    shift_right = 0x7A,
    bit_and = 0x7B,
    bit_or = 0x7D,
    bit_xor = 0x7F,
    bit_not = 0x80,
    find_set_left_bit = 0x81,
    find_set_right_bit = 0x82,
    dereference = 0x83,
    notify = 0x86,
    size_of = 0x87,
    index = 0x88,
    create_dword_field = 0x8A,
    create_word_field = 0x8B,
    create_byte_field = 0x8C,
    create_qword_field = 0x8F,
    logical_and = 0x90,
    logical_or = 0x91,
    logical_not = 0x92,
    equal = 0x93,
    greater = 0x94,
    less = 0x95,
    if_true = 0xA0,
    otherwise = 0xA1,
    while_true = 0xA2,
    return_value = 0xA4,
    break_loop = 0xA5,
};

/// Opcodes behind the extended prefix.
enum class ExtendedOpcode : std::uint8_t {
    sleep = 0x22,
    acquire = 0x23,
    release = 0x27,
};

Term code(Opcode opcode) {
    return Term(Bytes{static_cast<std::uint8_t>(opcode)});
}

Term code(ExtendedOpcode opcode) {
    return Term(Bytes{extended_prefix, static_cast<std::uint8_t>(opcode)});
}

Term create_field(Opcode opcode, const Term& buffer, std::uint64_t byte_offset,
                  std::string_view what) {
    return {code(opcode), buffer, integer(byte_offset), path(what)};
}

Term numbered(Opcode first, unsigned index) {
    return Term(Bytes{static_cast<std::uint8_t>(static_cast<unsigned>(first) + index)});
}

}  // namespace

Term arg(unsigned index) {
    CUPULE_ASSERT(index <= 6);
    return numbered(Opcode::arg0, index);
}

Term local(unsigned index) {
    CUPULE_ASSERT(index <= 7);
    return numbered(Opcode::local0, index);
}

Term no_target() {
    return path("");
}

Term call(std::string_view method_path, const Term& arguments) {
    return {path(method_path), arguments};
}

Term store(const Term& source, const Term& target) {
    return {code(Opcode::store), source, target};
}

Term add(const Term& a, const Term& b, const Term& target) {
    return {code(Opcode::add), a, b, target};
}

Term subtract(const Term& a, const Term& b, const Term& target) {
    return {code(Opcode::subtract), a, b, target};
}

Term bit_and(const Term& a, const Term& b, const Term& target) {
    return {code(Opcode::bit_and), a, b, target};
}

Term bit_or(const Term& a, const Term& b, const Term& target) {
    return {code(Opcode::bit_or), a, b, target};
}

Term bit_xor(const Term& a, const Term& b, const Term& target) {
    return {code(Opcode::bit_xor), a, b, target};
}

Term bit_not(const Term& a, const Term& target) {
    return {code(Opcode::bit_not), a, target};
}

Term shift_left(const Term& a, const Term& count, const Term& target) {
    return {code(Opcode::shift_left), a, count, target};
}

Term shift_right(const Term& a, const Term& count, const Term& target) {
    return {code(Opcode::shift_right), a, count, target};
}

Term find_set_left_bit(const Term& a, const Term& target) {
    return {code(Opcode::find_set_left_bit), a, target};
}

Term find_set_right_bit(const Term& a, const Term& target) {
    return {code(Opcode::find_set_right_bit), a, target};
}

Term increment(const Term& target) {
    return {code(Opcode::increment), target};
}

Term decrement(const Term& target) {
    return {code(Opcode::decrement), target};
}

Term logical_and(const Term& a, const Term& b) {
    return {code(Opcode::logical_and), a, b};
}

Term logical_or(const Term& a, const Term& b) {
    return {code(Opcode::logical_or), a, b};
}

Term logical_not(const Term& a) {
    return {code(Opcode::logical_not), a};
}

Term equal(const Term& a, const Term& b) {
    return {code(Opcode::equal), a, b};
}

Term less(const Term& a, const Term& b) {
    return {code(Opcode::less), a, b};
}

Term greater(const Term& a, const Term& b) {
    return {code(Opcode::greater), a, b};
}

// The opposites have no opcode of their own: 20.2.5.4 spells them with LNot.
Term not_equal(const Term& a, const Term& b) {
    return logical_not(equal(a, b));
}

Term less_equal(const Term& a, const Term& b) {
    return logical_not(greater(a, b));
}

Term greater_equal(const Term& a, const Term& b) {
    return logical_not(less(a, b));
}

Term index_of(const Term& object, const Term& index, const Term& target) {
    return {code(Opcode::index), object, index, target};
}

Term dereference(const Term& reference) {
    return {code(Opcode::dereference), reference};
}

Term size_of(const Term& object) {
    return {code(Opcode::size_of), object};
}

Term create_byte_field(const Term& buffer, std::uint64_t byte_offset, std::string_view what) {
    return create_field(Opcode::create_byte_field, buffer, byte_offset, what);
}

Term create_word_field(const Term& buffer, std::uint64_t byte_offset, std::string_view what) {
    return create_field(Opcode::create_word_field, buffer, byte_offset, what);
}

Term create_dword_field(const Term& buffer, std::uint64_t byte_offset, std::string_view what) {
    return create_field(Opcode::create_dword_field, buffer, byte_offset, what);
}

Term create_qword_field(const Term& buffer, std::uint64_t byte_offset, std::string_view what) {
    return create_field(Opcode::create_qword_field, buffer, byte_offset, what);
}

Term if_true(const Term& condition, const Term& body) {
    return {code(Opcode::if_true), with_package_length({condition, body})};
}

Term otherwise(const Term& body) {
    return {code(Opcode::otherwise), with_package_length(body)};
}

Term while_true(const Term& condition, const Term& body) {
    return {code(Opcode::while_true), with_package_length({condition, body})};
}

Term break_loop() {
    return code(Opcode::break_loop);
}

Term return_value(const Term& value) {
    return {code(Opcode::return_value), value};
}

Term notify(std::string_view object, const Term& value) {
    return {code(Opcode::notify), path(object), value};
}

Term acquire(std::string_view mutex_path, std::uint16_t timeout_ms) {
    const Term timeout(Bytes{static_cast<std::uint8_t>(timeout_ms & 0xFF),
                             static_cast<std::uint8_t>(timeout_ms >> 8)});
    return {code(ExtendedOpcode::acquire), path(mutex_path), timeout};
}

Term release(std::string_view mutex_path) {
    return {code(ExtendedOpcode::release), path(mutex_path)};
}

Term sleep_ms(std::uint64_t milliseconds) {
    return {code(ExtendedOpcode::sleep), integer(milliseconds)};
}

}  // namespace cupule::acpi::aml
