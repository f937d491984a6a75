#include "passthrough/slot_options.h"

#include <array>

#include "base/text.h"

namespace cupule::passthrough {
namespace {

constexpr std::size_t path_length_max = 255;
constexpr unsigned gsi_max = 255;

std::optional<unsigned> parse_decimal(std::string_view text, unsigned last) {
    const auto value = base::to_number<unsigned>(text);
    return value && *value <= last ? value : std::nullopt;
}

base::Result<void> take_path(std::string_view word, std::string& path) {
    const std::string_view value = base::cut(word, '=').second;
    if (value.empty() || value.size() > path_length_max) {
        return base::fail("'{}': a path of 1 to {} characters is expected", word, path_length_max);
    }
    path = value;
    return {};
}

/// False: `word` is no flag.
bool take_flag(std::string_view word, SlotText& slot) {
    struct Flag {
        std::string_view name;
        bool SlotText::*member;
    };
    constexpr auto flags =
        std::to_array<Flag>({{"bind", &SlotText::bind},
                             {"keep_gsi", &SlotText::keep_gsi},
                             {"no_reset", &SlotText::no_reset},
                             {"d3hot_reset", &SlotText::d3hot_reset},
                             {"enable_ptm", &SlotText::enable_ptm},
                             {"unsafe_interrupts", &SlotText::unsafe_interrupts}});
    for (const Flag& flag : flags) {
        if (word == flag.name) {
            slot.*flag.member = true;
            return true;
        }
    }
    return false;
}

base::Result<void> take_option(std::string_view word, std::string_view& rest, SlotText& slot) {
    if (take_flag(word, slot)) {
        return {};
    }
    if (word == "vmsix_on_msi") {
        const std::string_view bar = base::take_word(rest, ',');
        slot.msix_on_msi_bar = parse_decimal(bar, 5);
        if (!slot.msix_on_msi_bar) {
            return base::fail("'vmsix_on_msi,{}': the next word is a BAR, 0 to 5", bar);
        }
        return {};
    }
    if (word.starts_with("romfile=")) {
        return take_path(word, slot.rom_file);
    }
    if (word.starts_with("dsdt=")) {
        return take_path(word, slot.dsdt_file);
    }
    if (word.starts_with("irq=")) {
        slot.gsi = parse_decimal(word.substr(4), gsi_max);
        if (!slot.gsi) {
            return base::fail("'{}': an interrupt from 0 to {} is expected", word, gsi_max);
        }
        return {};
    }
    return base::fail(
        "the option '{}' is not known; there are bind, keep_gsi, no_reset, d3hot_reset, "
        "enable_ptm, unsafe_interrupts, vmsix_on_msi,BAR, romfile=FILE, dsdt=FILE and irq=N",
        word);
}

base::Result<void> check_together(const SlotText& slot) {
    if (slot.no_reset && slot.d3hot_reset) {
        return base::fail("no_reset and d3hot_reset exclude each other");
    }
    return {};
}

}  // namespace

base::Result<SlotText> parse_slot_text(std::string_view text) {
    constexpr std::string_view model_prefix = "model:";
    SlotText slot;
    std::string_view rest = text;
    const std::string_view place = base::take_word(rest, ',');
    if (place.starts_with(model_prefix)) {
        slot.model = place.substr(model_prefix.size());
    } else {
        slot.address = HostAddress::parse(place);
        if (!slot.address) {
            return base::fail(
                "'{}' is no PCI device: BUS/DEVICE/FUNCTION in hexadecimal is expected, as "
                "02/00/0, "
                "or DOMAIN:BUS:DEVICE.FUNCTION, as 0000:02:00.0",
                place);
        }
    }
    while (!rest.empty()) {
        const std::string_view word = base::take_word(rest, ',');
        if (!word.empty()) {
            // acrn-dm's launch scripts leave empty words behind.
            CUPULE_TRY(take_option(word, rest, slot));
        }
    }
    CUPULE_TRY(check_together(slot));
    return slot;
}

}  // namespace cupule::passthrough
