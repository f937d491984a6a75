#include "app/option_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <tuple>

#include "app/nearest.h"
#include "base/text.h"

namespace cupule::app {
namespace {

using base::fail;
using base::Result;

constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;

/// The power of two that a unit such as "k", "MB" or "GiB" stands for.
Result<unsigned> unit_shift(std::string_view unit) {
    const std::string lower = base::to_lower(unit);
    for (const auto& [letter, shift] : {std::pair{'k', 10U}, {'m', 20U}, {'g', 30U}}) {
        const std::string name(1, letter);
        if (lower == name || lower == name + "b" || lower == name + "ib") {
            return shift;
        }
    }
    return fail("'{}' is no unit: K, M or G, or no unit for megabytes", unit);
}

struct SerialPlace {
    std::uint16_t io_base;
    std::uint8_t irq;
};

// Where acrn-dm has COM1 to COM5.
constexpr std::array<SerialPlace, 5> serial_places{
    {{0x3F8, 4}, {0x2F8, 3}, {0x3E8, 6}, {0x2E8, 7}, {0x9000, 10}}};

}  // namespace

Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t min, std::uint64_t max) {
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    const std::string_view digits = hexadecimal ? text.substr(2) : text;
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number,
                                              hexadecimal ? 16 : 10);
    if (digits.empty() || end != digits.data() + digits.size() ||
        error == std::errc::invalid_argument) {
        return fail("'{}' is no number: {} to {} are allowed", text, min, max);
    }
    if (error == std::errc::result_out_of_range || number < min || number > max) {
        return fail("{} is out of range: {} to {} are allowed", text, min, max);
    }
    return number;
}

Result<std::uint64_t> parse_memory_size(std::string_view text) {
    int radix = 10;
    std::string_view digits = text;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        radix = 16;
        digits.remove_prefix(2);
    } else if (text.starts_with('0')) {
        radix = 8;
    }
    std::uint64_t number = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), number, radix);
    if (error == std::errc::invalid_argument) {
        return fail("a number and one of K, M, G are needed, such as 512M");
    }
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    unsigned shift = 20;
    if (!unit.empty()) {
        CUPULE_TRY_ASSIGN(shift, unit_shift(unit));
    }
    if (error == std::errc::result_out_of_range || number > memory_size_max >> shift) {
        return fail("too much: {}M to {}G are allowed", memory_size_min / mebibyte,
                    memory_size_max >> 30);
    }
    const std::uint64_t bytes = number << shift;
    if (bytes < memory_size_min) {
        return fail("too little: {}M to {}G are allowed", memory_size_min / mebibyte,
                    memory_size_max >> 30);
    }
    if (bytes % memory_size_unit != 0) {
        const std::uint64_t below = bytes / memory_size_unit * 2;
        return fail("no multiple of 2M: {}M and {}M are the nearest", below, below + 2);
    }
    return bytes;
}

Result<std::vector<std::uint32_t>> parse_lapic_ids(std::string_view text) {
    std::vector<std::uint32_t> ids;
    for (const std::string_view word : base::split(text, ',')) {
        auto id = parse_number(word, 0, 0xFFFFFFFE);
        if (!id) {
            return fail("{}; local APIC ids are separated by commas", id.error().message);
        }
        if (std::ranges::find(ids, *id) == ids.end()) {
            ids.push_back(static_cast<std::uint32_t>(*id));
        }
    }
    if (ids.size() > vcpu_count_max) {
        return fail("{} ids: at most {} are allowed", ids.size(), vcpu_count_max);
    }
    return ids;
}

Result<SlotOptions> parse_slot(std::string_view text) {
    const auto [place, rest] = base::cut(text, ',');
    std::vector<std::string_view> numbers = base::split_any(place, ":/.");
    if (numbers.size() > 3) {
        return fail("'{}' is no place: SLOT, SLOT:FUNC or BUS:SLOT:FUNC", place);
    }
    if (numbers.size() == 1) {
        numbers.push_back("0");
    }
    if (numbers.size() == 2) {
        numbers.insert(numbers.begin(), "0");
    }
    SlotOptions slot;
    const std::array<std::tuple<std::string_view, std::uint64_t, std::uint8_t*>, 3> parts{
        {{"bus", 255, &slot.bus}, {"slot", 31, &slot.slot}, {"function", 7, &slot.function}}};
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto& [what, max, target] = parts[i];
        // Decimal only: passthru's own numbers are hexadecimal, these are not.
        if (numbers[i].starts_with("0x")) {
            return fail("{}: '{}' is no decimal number", what, numbers[i]);
        }
        auto number = parse_number(numbers[i], 0, max);
        if (!number) {
            return fail("{}: {}", what, number.error().message);
        }
        *target = static_cast<std::uint8_t>(*number);
    }
    auto [device, options] = base::cut(rest, ',');
    if (device.empty()) {
        return fail("the device is missing: {}:{},DEVICE; `cupule devices` lists them", slot.slot,
                    slot.function);
    }
    slot.device = device;
    if (options == "b" || options.starts_with("b,")) {
        slot.boot = true;
        options = base::cut(options, ',').second;
    }
    slot.options = options;
    return slot;
}

Result<SerialOptions> parse_serial(std::string_view text) {
    const auto [name, rest] = base::cut(text, ',');
    const std::string lower = base::to_lower(name);
    if (lower.size() != 4 || !lower.starts_with("com") || lower[3] < '1' || lower[3] > '5') {
        constexpr auto names = std::to_array<std::string_view>({"com1", "com2", "com3"});
        return fail("'{}' is no LPC device: com1, com2, com3, com4 and com5 exist{}", name,
                    lower.starts_with("com") ? "" : suggestion(lower, names));
    }
    SerialOptions serial;
    serial.port = static_cast<std::uint8_t>(lower[3] - '0');
    const SerialPlace& place = serial_places.at(serial.port - 1U);
    serial.io_base = place.io_base;
    serial.irq = place.irq;
    serial.backend = rest;
    if (serial.port != 5) {
        return serial;
    }
    const std::vector<std::string_view> words = base::split(rest, ',');
    if (words.size() > 3) {
        return fail("com5 takes com5[,BACKEND[,PORT[,IRQ]]]: '{}' is too much", words[3]);
    }
    serial.backend = words[0];
    if (words.size() > 1 && !words[1].empty()) {
        auto base = parse_number(words[1], 0x400, 0xFFF8);
        if (!base || *base % 8 != 0) {
            return fail("'{}' is no I/O port for com5: a multiple of 8 from 0x400 to 0xfff8",
                        words[1]);
        }
        serial.io_base = static_cast<std::uint16_t>(*base);
    }
    if (words.size() > 2 && !words[2].empty()) {
        auto irq = parse_number(words[2], 3, 15);
        if (!irq) {
            return fail("com5's interrupt: {}", irq.error().message);
        }
        serial.irq = static_cast<std::uint8_t>(*irq);
    }
    return serial;
}

Result<InterruptMonitorOptions> parse_interrupt_monitor(std::string_view text) {
    const std::vector<std::string_view> words = base::split(text, ',');
    if (words.size() != 4) {
        return fail("four numbers are needed, such as 10000,10,1,100");
    }
    std::array<std::uint32_t, 4> numbers{};
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        CUPULE_TRY_ASSIGN(const std::uint64_t number, parse_number(words[i], 1, 0xFFFFFFFF));
        numbers.at(i) = static_cast<std::uint32_t>(number);
    }
    return InterruptMonitorOptions{.threshold_per_s = numbers[0],
                                   .period_s = numbers[1],
                                   .delay_ms = numbers[2],
                                   .duration_ms = numbers[3]};
}

Result<FirmwareOptions> parse_firmware(std::string_view text) {
    FirmwareOptions firmware;
    if (text.starts_with("w,")) {
        firmware.write_back = true;
        text.remove_prefix(2);
    }
    for (const std::string_view word : base::split(text, ',')) {
        if (word.starts_with("code=")) {
            firmware.code = word.substr(5);
        } else if (word.starts_with("vars=")) {
            firmware.variables = word.substr(5);
        } else if (firmware.image.empty()) {
            firmware.image = word;
        } else {
            return fail("'{}' is a second image: there is one", word);
        }
    }
    const bool halves = !firmware.code.empty() && !firmware.variables.empty();
    const bool half = !firmware.code.empty() || !firmware.variables.empty();
    if (firmware.image.empty() ? !halves : half) {
        return fail("either FILE or code=FILE,vars=FILE is needed, perhaps with w, in front");
    }
    return firmware;
}

Result<MmioPassthroughOptions> parse_mmio_range(std::string_view text) {
    const auto [base_text, size_text] = base::cut(text, ',');
    std::array<std::uint64_t, 2> numbers{};
    for (std::size_t i = 0; i < 2; ++i) {
        std::string_view digits = i == 0 ? base_text : size_text;
        if (digits.starts_with("0x") || digits.starts_with("0X")) {
            digits.remove_prefix(2);
        }
        const char* end = digits.data() + digits.size();
        const auto result = std::from_chars(digits.data(), end, numbers.at(i), 16);
        if (digits.empty() || result.ec != std::errc{} || result.ptr != end) {
            return fail("two hexadecimal numbers are needed, such as 0xfed40000,0x1000");
        }
    }
    const auto [base, size] = numbers;
    if (size == 0 || size > ~base) {
        return fail("the range is empty or runs past the last address");
    }
    return MmioPassthroughOptions{.base = base, .size = size};
}

Result<std::string> parse_tpm_socket(std::string_view text) {
    constexpr std::string_view key = "sock_path=";
    if (!text.starts_with(key) || text.size() == key.size()) {
        return fail("sock_path=SOCKET is needed, the control socket of swtpm");
    }
    return std::string(text.substr(key.size()));
}

Result<AcpiPassthroughOptions> parse_acpi_device(std::string_view text) {
    const auto [hid, uid] = base::cut(text, ',');
    // ACPI 6.5, 6.1.5: three or four letters and four hexadecimal digits; firmware is less strict.
    const bool plain = std::ranges::all_of(
        hid, [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); });
    if (hid.size() < 7 || hid.size() > 8 || !plain) {
        return fail("'{}' is no hardware id of ACPI, such as MSFT0101", hid);
    }
    return AcpiPassthroughOptions{.hid = std::string(hid), .uid = std::string(uid)};
}

Result<std::string> parse_software_sram(std::string_view text) {
    for (const std::string_view region : base::split(text, ';')) {
        const auto [level, rest] = base::cut(region, ',');
        const std::size_t size = rest.rfind(",size=");
        if ((level != "L2" && level != "L3") || !rest.starts_with("vcpu=") ||
            size == std::string_view::npos) {
            return fail("region '{}' is not of the form L2,vcpu=0,1,size=4K", region);
        }
    }
    return std::string(text);
}

Result<base::LogLevel> parse_log_level(std::string_view text) {
    constexpr auto names =
        std::to_array<std::string_view>({"error", "warning", "notice", "info", "debug"});
    for (std::size_t i = 0; i < names.size(); ++i) {
        const char digit = static_cast<char>('1' + i);
        if (text == names.at(i) || text == std::string_view(&digit, 1)) {
            return static_cast<base::LogLevel>(i + 1);
        }
    }
    return fail("the levels are error, warning, notice, info, debug, or 1 to 5{}",
                suggestion(text, names));
}

Result<LoggerOptions> parse_logger(std::string_view text, const LoggerOptions& before) {
    constexpr auto names = std::to_array<std::string_view>({"console", "kmsg", "disk"});
    LoggerOptions logger = before;
    for (const std::string_view setting : base::split(text, ';')) {
        if (setting.empty()) {
            continue;
        }
        const auto [name, level_text] = base::cut(setting, ',');
        auto* const target = name == "console" ? &logger.console
                             : name == "kmsg"  ? &logger.kmsg
                             : name == "disk"  ? &logger.disk
                                               : nullptr;
        if (target == nullptr) {
            return fail("'{}' is no logger: console, kmsg and disk exist{}", name,
                        suggestion(name, names));
        }
        constexpr std::string_view key = "level=";
        if (!level_text.starts_with(key)) {
            return fail("'{}' needs a level: {},level=1 to {},level=5", setting, name, name);
        }
        CUPULE_TRY_ASSIGN(const std::uint64_t level,
                          parse_number(level_text.substr(key.size()), 1, 5));
        *target = static_cast<base::LogLevel>(level);
    }
    return logger;
}

}  // namespace cupule::app
