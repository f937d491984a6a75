/// AML operators and statements: what stands inside a method.
///
/// Document: ACPI Specification 6.5, sections 20.2.5.3 (statements), 20.2.5.4 (expressions) and
/// 20.2.6 (arguments, locals, debug object).
#pragma once

#include <cstdint>
#include <string_view>

#include "acpi/aml.h"

namespace cupule::acpi::aml {

/// Arg0 to Arg6 and Local0 to Local7 (20.2.6).
[[nodiscard]] Term arg(unsigned index);
[[nodiscard]] Term local(unsigned index);

/// The target of an operator whose result is only used as a value.
[[nodiscard]] Term no_target();

/// Calls a method. The number of arguments must be the callee's: AML does not carry it.
[[nodiscard]] Term call(std::string_view method_path, const Term& arguments = {});

[[nodiscard]] Term store(const Term& source, const Term& target);
[[nodiscard]] Term add(const Term& a, const Term& b, const Term& target = no_target());
[[nodiscard]] Term subtract(const Term& a, const Term& b, const Term& target = no_target());
[[nodiscard]] Term bit_and(const Term& a, const Term& b, const Term& target = no_target());
[[nodiscard]] Term bit_or(const Term& a, const Term& b, const Term& target = no_target());
[[nodiscard]] Term bit_xor(const Term& a, const Term& b, const Term& target = no_target());
[[nodiscard]] Term bit_not(const Term& a, const Term& target = no_target());
[[nodiscard]] Term shift_left(const Term& a, const Term& count, const Term& target = no_target());
[[nodiscard]] Term shift_right(const Term& a, const Term& count, const Term& target = no_target());

/// FindSetLeftBit and FindSetRightBit: the bit's number counted from one, zero if none is set.
[[nodiscard]] Term find_set_left_bit(const Term& a, const Term& target = no_target());
[[nodiscard]] Term find_set_right_bit(const Term& a, const Term& target = no_target());

[[nodiscard]] Term increment(const Term& target);
[[nodiscard]] Term decrement(const Term& target);

[[nodiscard]] Term logical_and(const Term& a, const Term& b);
[[nodiscard]] Term logical_or(const Term& a, const Term& b);
[[nodiscard]] Term logical_not(const Term& a);
[[nodiscard]] Term equal(const Term& a, const Term& b);
[[nodiscard]] Term not_equal(const Term& a, const Term& b);
[[nodiscard]] Term less(const Term& a, const Term& b);
[[nodiscard]] Term less_equal(const Term& a, const Term& b);
[[nodiscard]] Term greater(const Term& a, const Term& b);
[[nodiscard]] Term greater_equal(const Term& a, const Term& b);

/// Index, DerefOf, SizeOf.
[[nodiscard]] Term index_of(const Term& object, const Term& index,
                            const Term& target = no_target());
[[nodiscard]] Term dereference(const Term& reference);
[[nodiscard]] Term size_of(const Term& object);

/// CreateByteField, CreateWordField, CreateDWordField, CreateQWordField: `what` becomes a name
/// for the bytes at `byte_offset` of a buffer.
[[nodiscard]] Term create_byte_field(const Term& buffer, std::uint64_t byte_offset,
                                     std::string_view what);
[[nodiscard]] Term create_word_field(const Term& buffer, std::uint64_t byte_offset,
                                     std::string_view what);
[[nodiscard]] Term create_dword_field(const Term& buffer, std::uint64_t byte_offset,
                                      std::string_view what);
[[nodiscard]] Term create_qword_field(const Term& buffer, std::uint64_t byte_offset,
                                      std::string_view what);

[[nodiscard]] Term if_true(const Term& condition, const Term& body);

/// Else; must directly follow an `if_true`.
[[nodiscard]] Term otherwise(const Term& body);

[[nodiscard]] Term while_true(const Term& condition, const Term& body);
[[nodiscard]] Term break_loop();
[[nodiscard]] Term return_value(const Term& value);

/// Notify (19.6.95): tells the driver of `object`, for example 0x80 = status changed.
[[nodiscard]] Term notify(std::string_view object, const Term& value);

/// Acquire and Release; 0xFFFF waits for ever.
[[nodiscard]] Term acquire(std::string_view mutex_path, std::uint16_t timeout_ms = 0xFFFF);
[[nodiscard]] Term release(std::string_view mutex_path);

/// Sleep for at least so long.
[[nodiscard]] Term sleep_ms(std::uint64_t milliseconds);

}  // namespace cupule::acpi::aml
