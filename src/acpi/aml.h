/// AML, the byte code of ACPI: names, data objects and the named objects that hold others.
///
/// A `Term` is a finished piece of AML. Functions named after the ASL operators make small terms,
/// take terms as arguments and give back bigger ones, so that C++ source reads like ASL:
///
///     device("COM1", {name("_HID", eisa_id("PNP0501")), name("_UID", integer(1))})
///
/// Braces put terms one after the other (a TermList). Operators and statements are in
/// `aml_statement.h`, operation regions and fields in `aml_field.h`, resource descriptors in
/// `aml_resource.h`. Arguments come from our own code and never from the guest: a wrong one is
/// asserted, not reported.
///
/// Document: ACPI Specification 6.5, chapter 20 (AML) and chapter 19 (ASL).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace cupule::acpi::aml {

using Bytes = std::vector<std::uint8_t>;

/// A piece of encoded AML; concatenation is its only operation. A default-constructed term is
/// empty and means "nothing here".
class Term {
  public:
    Term() = default;

    /// Terms one after the other.
    Term(std::initializer_list<Term> parts);

    /// Bytes that are AML already.
    explicit Term(Bytes bytes) : bytes_(std::move(bytes)) {}

    Term& operator+=(const Term& next);

    [[nodiscard]] std::span<const std::uint8_t> bytes() const { return bytes_; }
    [[nodiscard]] std::size_t size() const { return bytes_.size(); }
    [[nodiscard]] bool empty() const { return bytes_.empty(); }

  private:
    Bytes bytes_;
};

/// The largest value a PkgLength can carry (20.2.4: four bytes, 28 bits).
inline constexpr std::size_t package_length_max = (std::size_t{1} << 28) - 1;

/// PkgLength (20.2.4) in front of `content`: the shortest form, counting its own bytes.
[[nodiscard]] Term with_package_length(const Term& content);

/// PkgLength that counts something else than itself, as field lists do (20.2.5.2, in bits).
[[nodiscard]] Term package_length(std::size_t value);

/// NameString (20.2.2) from ASL spelling: "\\_SB.PCI0", "^^LNKA", "PICM"; segments shorter than
/// four characters are padded with '_'. "" gives NullName. Used where an object is referred to.
[[nodiscard]] Term path(std::string_view spelling);

/// One NameSeg (20.2.2), for places that allow no path.
[[nodiscard]] Term name_segment(std::string_view spelling);

/// The shortest of Zero, One, Byte, Word, DWord and QWord (20.2.3).
[[nodiscard]] Term integer(std::uint64_t value);

/// Ones (20.2.3): all bits set, the ASL truth value.
[[nodiscard]] Term ones();

/// String (20.2.3); ASCII 1-127 only.
[[nodiscard]] Term string(std::string_view text);

/// Buffer with the given initial content (20.2.5.4, DefBuffer).
[[nodiscard]] Term buffer(std::span<const std::uint8_t> content);

/// Package (20.2.5.4, DefPackage); more than 255 elements make a VarPackage as in iasl.
[[nodiscard]] Term package(std::initializer_list<Term> elements);
[[nodiscard]] Term package(std::span<const Term> elements);

/// VarPackage (20.2.5.4): the number of elements is an expression.
[[nodiscard]] Term var_package(const Term& element_count, const Term& elements);

/// EISAID (19.6.37): a compressed id such as "PNP0A08" as an integer.
[[nodiscard]] Term eisa_id(std::string_view id);

/// ToUUID (19.6.142): "33db4d5b-1ff7-401c-9657-7441c03dd766" as a 16-byte buffer.
[[nodiscard]] Term to_uuid(std::string_view uuid);

/// Scope, Name, Alias (20.2.5.1).
[[nodiscard]] Term scope(std::string_view where, const Term& body);
[[nodiscard]] Term name(std::string_view what, const Term& object);
[[nodiscard]] Term alias(std::string_view source, std::string_view new_name);

/// Device (20.2.5.2).
[[nodiscard]] Term device(std::string_view what, const Term& body);

enum class Serialized : std::uint8_t { no = 0, yes = 1 };

/// Method (20.2.5.2) of 0 to 7 arguments, sync level 0. A method that creates named objects
/// must be serialized.
[[nodiscard]] Term method(std::string_view what, unsigned argument_count, Serialized serialized,
                          const Term& body);

/// Mutex (20.2.5.2), sync level 0 to 15.
[[nodiscard]] Term mutex(std::string_view what, unsigned sync_level = 0);

}  // namespace cupule::acpi::aml
