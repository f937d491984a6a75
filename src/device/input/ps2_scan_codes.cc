#include "device/input/ps2_scan_codes.h"

#include <linux/input-event-codes.h>

#include <array>

namespace cupule::device {
namespace {

/// Set 1 for the set 2 codes 00h to 7Fh (IBM PS/2 Hardware Interface Technical Reference, keyboard
/// and auxiliary device controller).
constexpr std::array<std::uint8_t, 128> set_1_codes = {
    0xFF, 0x43, 0x41, 0x3F, 0x3D, 0x3B, 0x3C, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3E, 0x0F, 0x29, 0x59,
    0x65, 0x38, 0x2A, 0x70, 0x1D, 0x10, 0x02, 0x5A, 0x66, 0x71, 0x2C, 0x1F, 0x1E, 0x11, 0x03, 0x5B,
    0x67, 0x2E, 0x2D, 0x20, 0x12, 0x05, 0x04, 0x5C, 0x68, 0x39, 0x2F, 0x21, 0x14, 0x13, 0x06, 0x5D,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5E, 0x6A, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5F,
    0x6B, 0x33, 0x25, 0x17, 0x18, 0x0B, 0x0A, 0x60, 0x6C, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0C, 0x61,
    0x6D, 0x73, 0x28, 0x74, 0x1A, 0x0D, 0x62, 0x6E, 0x3A, 0x36, 0x1C, 0x1B, 0x75, 0x2B, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7A, 0x0E, 0x7B, 0x7C, 0x4F, 0x7D, 0x4B, 0x47, 0x7E, 0x7F, 0x6F,
    0x52, 0x53, 0x50, 0x4C, 0x4D, 0x48, 0x01, 0x45, 0x57, 0x4E, 0x51, 0x4A, 0x37, 0x49, 0x46, 0x54,
};

constexpr std::uint8_t f7_set_2 = 0x83;
constexpr std::uint8_t alt_sysrq_set_2 = 0x84;
constexpr std::uint8_t extension = 0xE0;
constexpr std::uint8_t pause_extension = 0xE1;
constexpr std::uint8_t set_2_release = 0xF0;
constexpr std::uint8_t set_1_release = 0x80;

/// The table above read backwards; 0 where there is no code.
constexpr std::array<std::uint8_t, 128> make_set_2_codes() {
    std::array<std::uint8_t, 128> codes{};
    for (std::uint8_t code = 1; code < set_1_codes.size(); ++code) {
        codes[set_1_codes[code]] = code;
    }
    codes[0x41] = f7_set_2;
    codes[0x54] = alt_sysrq_set_2;
    return codes;
}
constexpr std::array<std::uint8_t, 128> set_2_codes = make_set_2_codes();

struct ExtendedKey {
    std::uint16_t key_code;
    std::uint8_t set_1;
};

/// Keys whose codes stand behind E0h.
constexpr std::array extended_keys = {
    ExtendedKey{KEY_KPENTER, 0x1C},  ExtendedKey{KEY_RIGHTCTRL, 0x1D},
    ExtendedKey{KEY_KPSLASH, 0x35},  ExtendedKey{KEY_RIGHTALT, 0x38},
    ExtendedKey{KEY_HOME, 0x47},     ExtendedKey{KEY_UP, 0x48},
    ExtendedKey{KEY_PAGEUP, 0x49},   ExtendedKey{KEY_LEFT, 0x4B},
    ExtendedKey{KEY_RIGHT, 0x4D},    ExtendedKey{KEY_END, 0x4F},
    ExtendedKey{KEY_DOWN, 0x50},     ExtendedKey{KEY_PAGEDOWN, 0x51},
    ExtendedKey{KEY_INSERT, 0x52},   ExtendedKey{KEY_DELETE, 0x53},
    ExtendedKey{KEY_LEFTMETA, 0x5B}, ExtendedKey{KEY_RIGHTMETA, 0x5C},
    ExtendedKey{KEY_COMPOSE, 0x5D},  ExtendedKey{KEY_POWER, 0x5E},
    ExtendedKey{KEY_SLEEP, 0x5F},    ExtendedKey{KEY_WAKEUP, 0x63},
    ExtendedKey{KEY_MUTE, 0x20},     ExtendedKey{KEY_VOLUMEDOWN, 0x2E},
    ExtendedKey{KEY_VOLUMEUP, 0x30}, ExtendedKey{KEY_PREVIOUSSONG, 0x10},
    ExtendedKey{KEY_NEXTSONG, 0x19}, ExtendedKey{KEY_PLAYPAUSE, 0x22},
    ExtendedKey{KEY_STOPCD, 0x24},
};

/// One code with its prefix, as the given set writes it going down or up.
void push_code(KeySequence& sequence, std::uint8_t prefix, std::uint8_t set_1, bool pressed,
               std::uint8_t set) {
    if (prefix != 0) {
        sequence.push(prefix);
    }
    if (set == 1) {
        sequence.push(static_cast<std::uint8_t>(set_1 | (pressed ? 0 : set_1_release)));
        return;
    }
    if (!pressed) {
        sequence.push(set_2_release);
    }
    sequence.push(set_2_codes[set_1 & 0x7F]);
}

void push_pause(KeySequence& sequence, std::uint8_t set) {
    for (const bool pressed : {true, false}) {
        push_code(sequence, pause_extension, 0x1D, pressed, set);
        push_code(sequence, 0, 0x45, pressed, set);
    }
}

/// Print Screen is a shift with a code of its own, let go in reverse order.
void push_print_screen(KeySequence& sequence, bool pressed, std::uint8_t set) {
    push_code(sequence, extension, pressed ? 0x2A : 0x37, pressed, set);
    push_code(sequence, extension, pressed ? 0x37 : 0x2A, pressed, set);
}

}  // namespace

std::uint8_t set_2_to_set_1(std::uint8_t code) {
    if (code < set_1_codes.size()) {
        return set_1_codes[code];
    }
    return code == f7_set_2 ? 0x41 : code == alt_sysrq_set_2 ? 0x54 : code;
}

KeySequence key_sequence(std::uint16_t key_code, bool pressed, std::uint8_t set) {
    KeySequence sequence;
    if (key_code == KEY_PAUSE) {
        if (pressed) {
            push_pause(sequence, set);
        }
        return sequence;
    }
    if (key_code == KEY_SYSRQ) {
        push_print_screen(sequence, pressed, set);
        return sequence;
    }
    for (const ExtendedKey& key : extended_keys) {
        if (key.key_code == key_code) {
            push_code(sequence, extension, key.set_1, pressed, set);
            return sequence;
        }
    }
    // Linux took its first numbers from set 1.
    const bool plain = key_code >= KEY_ESC && key_code <= KEY_F12 && key_code != 84;
    if (plain && set_2_codes[key_code] != 0) {
        push_code(sequence, 0, static_cast<std::uint8_t>(key_code), pressed, set);
    }
    return sequence;
}

}  // namespace cupule::device
