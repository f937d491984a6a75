#include "acpi/aml.h"

#include <algorithm>

#include "acpi/little_endian.h"
#include "base/assert.h"

namespace cupule::acpi::aml {

namespace {

constexpr std::uint8_t alias_op = 0x06;
constexpr std::uint8_t name_op = 0x08;
constexpr std::uint8_t byte_prefix = 0x0A;
constexpr std::uint8_t word_prefix = 0x0B;
constexpr std::uint8_t dword_prefix = 0x0C;
constexpr std::uint8_t string_prefix = 0x0D;
constexpr std::uint8_t qword_prefix = 0x0E;
constexpr std::uint8_t scope_op = 0x10;
constexpr std::uint8_t buffer_op = 0x11;
constexpr std::uint8_t package_op = 0x12;
constexpr std::uint8_t var_package_op = 0x13;
constexpr std::uint8_t method_op = 0x14;
constexpr std::uint8_t dual_name_prefix = 0x2E;
constexpr std::uint8_t multi_name_prefix = 0x2F;
constexpr std::uint8_t extended_prefix = 0x5B;
constexpr std::uint8_t mutex_op = 0x01;   // after extended_prefix
constexpr std::uint8_t device_op = 0x82;  // after extended_prefix
constexpr std::uint8_t ones_op = 0xFF;

constexpr std::size_t segment_length = 4;
constexpr std::size_t segments_max = 255;
constexpr std::size_t package_elements_max = 255;

bool is_lead_name_char(char c) {
    return (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_name_char(char c) {
    return is_lead_name_char(c) || (c >= '0' && c <= '9');
}

std::uint8_t hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return static_cast<std::uint8_t>(c - '0');
    }
    const auto lower = static_cast<char>(c | 0x20);
    CUPULE_ASSERT(lower >= 'a' && lower <= 'f');
    return static_cast<std::uint8_t>(lower - 'a' + 10);
}

void append_segment(Bytes& out, std::string_view segment) {
    CUPULE_ASSERT(!segment.empty() && segment.size() <= segment_length);
    CUPULE_ASSERT(is_lead_name_char(segment.front()));
    CUPULE_ASSERT(std::ranges::all_of(segment, is_name_char));
    out.insert(out.end(), segment.begin(), segment.end());
    out.insert(out.end(), segment_length - segment.size(), '_');
}

Term with_opcode(std::uint8_t opcode, const Term& rest) {
    return {Term(Bytes{opcode}), rest};
}

Term with_extended_opcode(std::uint8_t opcode, const Term& rest) {
    return {Term(Bytes{extended_prefix, opcode}), rest};
}

Term join(std::span<const Term> terms) {
    Term all;
    for (const Term& term : terms) {
        all += term;
    }
    return all;
}

}  // namespace

Term::Term(std::initializer_list<Term> parts) {
    std::size_t total = 0;
    for (const Term& part : parts) {
        total += part.size();
    }
    bytes_.reserve(total);
    for (const Term& part : parts) {
        *this += part;
    }
}

Term& Term::operator+=(const Term& next) {
    const std::size_t old_size = bytes_.size();
    bytes_.resize(old_size + next.bytes_.size());
    std::copy_n(next.bytes_.begin(), bytes_.size() - old_size,
                bytes_.begin() + static_cast<std::ptrdiff_t>(old_size));
    return *this;
}

Term package_length(std::size_t value) {
    CUPULE_ASSERT(value <= package_length_max);
    if (value <= 0x3F) {
        return Term(Bytes{static_cast<std::uint8_t>(value)});
    }
    // The lead byte says in bits 7:6 how many bytes follow and carries the lowest four bits.
    Bytes bytes{0};
    std::size_t rest = value >> 4;
    while (rest != 0) {
        bytes.push_back(static_cast<std::uint8_t>(rest & 0xFF));
        rest >>= 8;
    }
    bytes[0] = static_cast<std::uint8_t>(((bytes.size() - 1) << 6) | (value & 0xF));
    return Term(std::move(bytes));
}

Term with_package_length(const Term& content) {
    // The length counts its own bytes, so a longer form may be needed because of itself.
    std::size_t own_size = 1;
    while (package_length(content.size() + own_size).size() > own_size) {
        ++own_size;
    }
    return {package_length(content.size() + own_size), content};
}

Term path(std::string_view spelling) {
    Bytes bytes;
    if (spelling.starts_with('\\')) {
        bytes.push_back('\\');
        spelling.remove_prefix(1);
    }
    while (spelling.starts_with('^')) {
        CUPULE_ASSERT(bytes.empty() || bytes.front() == '^');
        bytes.push_back('^');
        spelling.remove_prefix(1);
    }
    if (spelling.empty()) {
        bytes.push_back(0);  // NullName
        return Term(std::move(bytes));
    }
    const auto segments = static_cast<std::size_t>(std::ranges::count(spelling, '.')) + 1;
    CUPULE_ASSERT(segments <= segments_max);
    if (segments == 2) {
        bytes.push_back(dual_name_prefix);
    } else if (segments > 2) {
        bytes.push_back(multi_name_prefix);
        bytes.push_back(static_cast<std::uint8_t>(segments));
    }
    for (std::size_t i = 0; i < segments; ++i) {
        const std::size_t end = std::min(spelling.find('.'), spelling.size());
        append_segment(bytes, spelling.substr(0, end));
        spelling.remove_prefix(std::min(end + 1, spelling.size()));
    }
    return Term(std::move(bytes));
}

Term name_segment(std::string_view spelling) {
    Bytes bytes;
    append_segment(bytes, spelling);
    return Term(std::move(bytes));
}

Term integer(std::uint64_t value) {
    if (value <= 1) {
        return Term(Bytes{static_cast<std::uint8_t>(value)});
    }
    Bytes bytes;
    if (value <= 0xFF) {
        bytes.push_back(byte_prefix);
        append_little_endian(bytes, value, 1);
    } else if (value <= 0xFFFF) {
        bytes.push_back(word_prefix);
        append_little_endian(bytes, value, 2);
    } else if (value <= 0xFFFF'FFFF) {
        bytes.push_back(dword_prefix);
        append_little_endian(bytes, value, 4);
    } else {
        bytes.push_back(qword_prefix);
        append_little_endian(bytes, value, 8);
    }
    return Term(std::move(bytes));
}

Term ones() {
    return Term(Bytes{ones_op});
}

Term string(std::string_view text) {
    CUPULE_ASSERT(std::ranges::all_of(text, [](char c) { return c >= 1 && c != 0x7F; }));
    Bytes bytes{string_prefix};
    bytes.insert(bytes.end(), text.begin(), text.end());
    bytes.push_back(0);
    return Term(std::move(bytes));
}

Term buffer(std::span<const std::uint8_t> content) {
    const Term data(Bytes(content.begin(), content.end()));
    return with_opcode(buffer_op, with_package_length({integer(content.size()), data}));
}

Term package(std::span<const Term> elements) {
    if (elements.size() > package_elements_max) {
        return var_package(integer(elements.size()), join(elements));
    }
    const Term count(Bytes{static_cast<std::uint8_t>(elements.size())});
    return with_opcode(package_op, with_package_length({count, join(elements)}));
}

Term package(std::initializer_list<Term> elements) {
    return package(std::span<const Term>(elements.begin(), elements.size()));
}

Term var_package(const Term& element_count, const Term& elements) {
    return with_opcode(var_package_op, with_package_length({element_count, elements}));
}

Term eisa_id(std::string_view id) {
    CUPULE_ASSERT(id.size() == 7);
    std::uint32_t compressed = 0;
    for (const char letter : id.substr(0, 3)) {
        CUPULE_ASSERT(letter >= 'A' && letter <= 'Z');
        compressed = (compressed << 5) | static_cast<std::uint32_t>(letter - 'A' + 1);
    }
    for (const char digit : id.substr(3)) {
        compressed = (compressed << 4) | hex_digit(digit);
    }
    // The id is big endian in memory and AML integers are little endian (19.3.4).
    return integer(__builtin_bswap32(compressed));
}

Term to_uuid(std::string_view uuid) {
    // Where in the text byte i of the buffer stands (table in 19.6.142): the first three groups
    // are little endian.
    constexpr std::size_t positions[16] = {6,  4,  2,  0,  11, 9,  16, 14,
                                           19, 21, 24, 26, 28, 30, 32, 34};
    CUPULE_ASSERT(uuid.size() == 36);
    CUPULE_ASSERT(uuid[8] == '-' && uuid[13] == '-' && uuid[18] == '-' && uuid[23] == '-');
    Bytes bytes;
    for (const std::size_t position : positions) {
        const auto high = static_cast<unsigned>(hex_digit(uuid[position]));
        bytes.push_back(static_cast<std::uint8_t>((high << 4) | hex_digit(uuid[position + 1])));
    }
    return buffer(bytes);
}

Term scope(std::string_view where, const Term& body) {
    return with_opcode(scope_op, with_package_length({path(where), body}));
}

Term name(std::string_view what, const Term& object) {
    CUPULE_ASSERT(!object.empty());
    return with_opcode(name_op, {path(what), object});
}

Term alias(std::string_view source, std::string_view new_name) {
    return with_opcode(alias_op, {path(source), path(new_name)});
}

Term device(std::string_view what, const Term& body) {
    return with_extended_opcode(device_op, with_package_length({path(what), body}));
}

Term method(std::string_view what, unsigned argument_count, Serialized serialized,
            const Term& body) {
    CUPULE_ASSERT(argument_count <= 7);
    const bool is_serialized = serialized == Serialized::yes;
    const Term flags(Bytes{static_cast<std::uint8_t>(argument_count | (is_serialized ? 8U : 0U))});
    return with_opcode(method_op, with_package_length({path(what), flags, body}));
}

Term mutex(std::string_view what, unsigned sync_level) {
    CUPULE_ASSERT(sync_level <= 15);
    const Term flags(Bytes{static_cast<std::uint8_t>(sync_level)});
    return with_extended_opcode(mutex_op, {path(what), flags});
}

}  // namespace cupule::acpi::aml
