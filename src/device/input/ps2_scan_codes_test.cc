#include "device/input/ps2_scan_codes.h"

#include <gtest/gtest.h>
#include <linux/input-event-codes.h>

#include <string>

namespace cupule::device {
namespace {

std::string bytes(std::uint16_t key, bool pressed, std::uint8_t set) {
    std::string text;
    for (KeySequence sequence = key_sequence(key, pressed, set); !sequence.empty();) {
        constexpr const char* digits = "0123456789ABCDEF";
        const std::uint8_t byte = sequence.take();
        text += {digits[byte >> 4], digits[byte & 0xF], ' '};
    }
    return text.empty() ? text : text.substr(0, text.size() - 1);
}

TEST(Ps2ScanCodes, SetTwoIsThatOfTheTechnicalReference) {
    EXPECT_EQ(bytes(KEY_A, true, 2), "1C");
    EXPECT_EQ(bytes(KEY_A, false, 2), "F0 1C");
    EXPECT_EQ(bytes(KEY_ESC, true, 2), "76");
    EXPECT_EQ(bytes(KEY_1, true, 2), "16");
    EXPECT_EQ(bytes(KEY_ENTER, true, 2), "5A");
    EXPECT_EQ(bytes(KEY_SPACE, true, 2), "29");
    EXPECT_EQ(bytes(KEY_LEFTSHIFT, true, 2), "12");
    EXPECT_EQ(bytes(KEY_LEFTCTRL, false, 2), "F0 14");
    EXPECT_EQ(bytes(KEY_F7, true, 2), "83");
    EXPECT_EQ(bytes(KEY_F12, true, 2), "07");
    EXPECT_EQ(bytes(KEY_102ND, true, 2), "61");
    EXPECT_EQ(bytes(KEY_KP5, true, 2), "73");
    EXPECT_EQ(bytes(KEY_UP, true, 2), "E0 75");
    EXPECT_EQ(bytes(KEY_UP, false, 2), "E0 F0 75");
    EXPECT_EQ(bytes(KEY_RIGHTALT, true, 2), "E0 11");
    EXPECT_EQ(bytes(KEY_LEFTMETA, true, 2), "E0 1F");
}

TEST(Ps2ScanCodes, SetOneIsThatOfTheTechnicalReference) {
    EXPECT_EQ(bytes(KEY_A, true, 1), "1E");
    EXPECT_EQ(bytes(KEY_A, false, 1), "9E");
    EXPECT_EQ(bytes(KEY_DELETE, true, 1), "E0 53");
    EXPECT_EQ(bytes(KEY_DELETE, false, 1), "E0 D3");
}

TEST(Ps2ScanCodes, PauseAndPrintScreenHaveTheirOwnSequences) {
    EXPECT_EQ(bytes(KEY_PAUSE, true, 2), "E1 14 77 E1 F0 14 F0 77");
    EXPECT_EQ(bytes(KEY_PAUSE, true, 1), "E1 1D 45 E1 9D C5");
    EXPECT_EQ(bytes(KEY_PAUSE, false, 2), "");
    EXPECT_EQ(bytes(KEY_SYSRQ, true, 2), "E0 12 E0 7C");
    EXPECT_EQ(bytes(KEY_SYSRQ, false, 2), "E0 F0 7C E0 F0 12");
}

TEST(Ps2ScanCodes, KeysThatDoNotExistSendNothing) {
    EXPECT_EQ(bytes(KEY_RESERVED, true, 2), "");
    EXPECT_EQ(bytes(84, true, 2), "");
    EXPECT_EQ(bytes(KEY_F13, true, 2), "");
    EXPECT_EQ(bytes(BTN_LEFT, true, 2), "");
    EXPECT_EQ(bytes(0xFFFF, true, 2), "");
}

TEST(Ps2ScanCodes, TranslatedSetTwoIsSetOneForEveryKey) {
    for (std::uint16_t key = 0; key < 256; ++key) {
        for (const bool pressed : {true, false}) {
            KeySequence one = key_sequence(key, pressed, 1);
            std::string translated;
            bool release = false;
            for (KeySequence two = key_sequence(key, pressed, 2); !two.empty();) {
                const std::uint8_t byte = two.take();
                if (byte == 0xF0) {
                    release = true;
                    continue;
                }
                translated += static_cast<char>(set_2_to_set_1(byte) | (release ? 0x80 : 0));
                release = false;
            }
            std::string expected;
            while (!one.empty()) {
                expected += static_cast<char>(one.take());
            }
            EXPECT_EQ(translated, expected) << key;
        }
    }
}

TEST(Ps2ScanCodes, AnswersPassTheTranslationUnchanged) {
    for (const unsigned byte : {0xFAU, 0xAAU, 0xFEU, 0xEEU, 0xE0U, 0xE1U, 0xABU}) {
        EXPECT_EQ(set_2_to_set_1(static_cast<std::uint8_t>(byte)), byte);
    }
}

}  // namespace
}  // namespace cupule::device
