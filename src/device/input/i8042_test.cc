#include "device/input/i8042.h"

#include <gtest/gtest.h>
#include <linux/input-event-codes.h>

#include <random>
#include <vector>

#include "testing/device_contract.h"
#include "testing/fake_lines.h"

namespace cupule::device {
namespace {

using Bytes = std::vector<unsigned>;

class FakeResetLine : public ResetLine {
  public:
    void pulse_reset() override { ++pulses; }
    int pulses = 0;
};

struct Bench {
    testing::FakeLevelLine irq_1;
    testing::FakeLevelLine irq_12;
    FakeResetLine reset_line;
    I8042 controller{irq_1, irq_12, reset_line};

    unsigned status() { return static_cast<unsigned>(controller.command_port().read(0, 1)); }
    unsigned data() { return static_cast<unsigned>(controller.data_port().read(0, 1)); }
    void command(unsigned value) { controller.command_port().write(0, 1, value); }
    void command(unsigned value, unsigned byte) {
        command(value);
        send(byte);
    }
    void send(unsigned value) { controller.data_port().write(0, 1, value); }
    /// All bytes of the keyboard (or, with `aux`, the mouse) that wait.
    Bytes drain(bool aux = false) {
        Bytes bytes;
        while ((status() & 0x01) != 0 && ((status() & 0x20) != 0) == aux) {
            bytes.push_back(data());
        }
        return bytes;
    }
    Bytes keyboard(unsigned value) {
        send(value);
        return drain();
    }
    Bytes mouse(unsigned value) {
        command(0xD4, value);
        return drain(true);
    }
    /// Keyboard and mouse on with their interrupts, no translation.
    void start() { command(0x60, 0x03); }
};

testing::ContractSubject make_subject() {
    auto bench = std::make_shared<Bench>();
    Bench* raw = bench.get();
    return {.owner = bench,
            .device = &bench->controller,
            .ranges = {{.handler = &bench->controller.data_port(), .size = 1},
                       {.handler = &bench->controller.command_port(), .size = 1}},
            .disturb = [raw](std::uint64_t random) {
                raw->controller.key(static_cast<std::uint16_t>(random % 130), random % 2 == 0);
                raw->controller.move(
                    static_cast<int>(random % 1000) - 500, static_cast<int>(random % 777) - 300,
                    static_cast<int>(random % 9) - 4, static_cast<std::uint8_t>(random));
            }};
}

CUPULE_DEVICE_CONTRACT(I8042, make_subject)

TEST(I8042, Class14_NoSequenceOfCommandsFillsMoreThanItsBuffers) {
    // Commands await parameters, and answers and keys queue up: whatever comes in between, what
    // waits stays bounded and the parts answer again.
    std::mt19937_64 random(14);
    for (int life = 0; life < 200; ++life) {
        Bench bench;
        for (int step = 0; step < 500; ++step) {
            const auto value = static_cast<unsigned>(random() & 0xFF);
            switch (random() % 5) {
                case 0:
                    bench.command(value);
                    break;
                case 1:
                    bench.command(0xD4, value);
                    break;
                case 2:
                    bench.controller.key(static_cast<std::uint16_t>(value), step % 2 == 0);
                    break;
                case 3:
                    bench.controller.move(static_cast<int>(value) - 100, 3, 1, 7);
                    break;
                default:
                    bench.send(value);
                    break;
            }
        }
        // The keyboard's 16 bytes, the mouse's, one of the controller and one in its register,
        // and a packet that follows each: never more than this.
        int waiting = 0;
        while ((bench.status() & 0x01) != 0 && waiting < 100) {
            bench.data();
            ++waiting;
        }
        ASSERT_LT(waiting, 100);
        bench.command(0xAA);
        EXPECT_EQ(bench.data(), 0x55U);
    }
}

TEST(I8042, PowerOnStatusIsEmptyWithTheSystemFlag) {
    Bench b;
    EXPECT_EQ(b.status(), 0x14U);
    b.command(0x20);
    EXPECT_EQ(b.data(), 0x65U);
}

TEST(I8042, SelfTestsPass) {
    Bench b;
    b.command(0xAA);
    EXPECT_EQ(b.drain(), Bytes{0x55});
    b.command(0xAB);
    EXPECT_EQ(b.drain(), Bytes{0x00});
    b.command(0xA9);
    EXPECT_EQ(b.drain(), Bytes{0x00});
    b.command(0xA4);
    EXPECT_EQ(b.drain(), Bytes{0xF1});
}

TEST(I8042, StatusSaysWhichPortWasWrittenLast) {
    Bench b;
    b.command(0xAE);
    EXPECT_EQ(b.status() & 0x08, 0x08U);
    b.send(0xED);
    EXPECT_EQ(b.status() & 0x08, 0x00U);
}

TEST(I8042, CommandByteAndRamAreReadAndWritten) {
    Bench b;
    b.command(0x60, 0xFF);
    b.command(0x20);
    EXPECT_EQ(b.data(), 0x7FU);
    b.command(0x7F, 0x5A);
    b.command(0x3F);
    EXPECT_EQ(b.data(), 0x5AU);
}

TEST(I8042, EnableAndDisableCommandsMoveTheirBits) {
    Bench b;
    b.start();
    const auto control = [&] {
        b.command(0x20);
        return b.data();
    };
    b.command(0xA7);
    EXPECT_EQ(control(), 0x23U);
    b.command(0xAD);
    EXPECT_EQ(control(), 0x33U);
    b.command(0xA8);
    b.command(0xAE);
    EXPECT_EQ(control(), 0x03U);
}

TEST(I8042, LinuxProbeOfTheAuxiliaryPortSucceeds) {
    Bench b;
    // Both interrupts off: loop a byte through the AUX output buffer, which must carry its flag.
    b.command(0x60, 0x74);
    b.command(0xD3, 0x5A);
    EXPECT_EQ(b.status() & 0x21, 0x21U);
    EXPECT_FALSE(b.irq_12.level);
    EXPECT_EQ(b.data(), 0x5AU);
    // The test for a multiplexer: what comes back is what was sent, so there is none.
    for (const unsigned byte : {0xF0U, 0x56U, 0xA4U}) {
        b.command(0xD3, byte);
        EXPECT_EQ(b.data(), byte);
    }
    // The delivery test: IRQ 12 must come.
    b.command(0x60, 0x46);
    b.command(0xD3, 0xA5);
    EXPECT_TRUE(b.irq_12.level);
    EXPECT_FALSE(b.irq_1.level);
    EXPECT_EQ(b.data(), 0xA5U);
    EXPECT_FALSE(b.irq_12.level);
}

TEST(I8042, KeyboardOutputBufferCommandInterruptsAsAKeyDoes) {
    Bench b;
    b.start();
    b.command(0xD2, 0x77);
    EXPECT_TRUE(b.irq_1.level);
    EXPECT_EQ(b.status() & 0x21, 0x01U);
    EXPECT_EQ(b.data(), 0x77U);
}

TEST(I8042, EachByteIsAnEdgeOfItsOwn) {
    Bench b;
    b.start();
    const int before = b.irq_1.rises;
    b.controller.key(KEY_UP, true);
    EXPECT_TRUE(b.irq_1.level);
    EXPECT_EQ(b.data(), 0xE0U);
    EXPECT_TRUE(b.irq_1.level);
    EXPECT_EQ(b.data(), 0x75U);
    EXPECT_FALSE(b.irq_1.level);
    EXPECT_EQ(b.irq_1.rises, before + 2);
}

TEST(I8042, TheInterruptEnableBitsGateTheLines) {
    Bench b;
    b.command(0x60, 0x00);
    b.controller.key(KEY_A, true);
    EXPECT_EQ(b.status() & 0x01, 0x01U);
    EXPECT_FALSE(b.irq_1.level);
    b.command(0x60, 0x01);
    EXPECT_TRUE(b.irq_1.level) << "the byte still waits";
}

TEST(I8042, ADisabledKeyboardKeepsItsKeys) {
    Bench b;
    b.command(0xAD);
    b.controller.key(KEY_A, true);
    EXPECT_EQ(b.status() & 0x01, 0x00U);
    b.command(0xAE);
    EXPECT_EQ(b.drain(), Bytes{0x1E});
}

TEST(I8042, TranslationMakesSetOneOfWhatTheKeyboardSends) {
    Bench b;
    b.controller.key(KEY_A, true);
    b.controller.key(KEY_A, false);
    EXPECT_EQ(b.drain(), (Bytes{0x1E, 0x9E}));
    EXPECT_EQ(b.keyboard(0xF2), (Bytes{0xFA, 0xAB, 0x41})) << "the identifier is translated too";
    b.start();
    b.controller.key(KEY_A, false);
    EXPECT_EQ(b.drain(), (Bytes{0xF0, 0x1C}));
}

TEST(I8042, AReplyOfTheControllerWaitsForTheByteBeforeIt) {
    Bench b;
    b.start();
    b.controller.key(KEY_A, true);
    b.command(0x20);
    EXPECT_EQ(b.drain(), (Bytes{0x1C, 0x03}));
}

TEST(I8042, OutputPortHoldsA20AndShowsTheBuffers) {
    Bench b;
    b.start();
    b.command(0xD0);
    EXPECT_EQ(b.data(), 0xC3U);
    b.command(0xD1, 0xDD);
    b.command(0xD0);
    EXPECT_EQ(b.data(), 0xCDU);
    EXPECT_EQ(b.reset_line.pulses, 0);
}

TEST(I8042, ResetIsAskedForByPulseAndByOutputPort) {
    Bench b;
    b.command(0xFF);
    b.command(0xF1);
    EXPECT_EQ(b.reset_line.pulses, 0);
    b.command(0xFE);
    EXPECT_EQ(b.reset_line.pulses, 1);
    b.command(0xF0);
    EXPECT_EQ(b.reset_line.pulses, 2);
    b.command(0xD1, 0xDE);
    EXPECT_EQ(b.reset_line.pulses, 3);
}

TEST(I8042, ANewCommandDropsTheOneThatAwaitsItsByte) {
    Bench b;
    b.start();
    b.command(0x60);
    b.command(0xAE);
    EXPECT_EQ(b.keyboard(0xEE), Bytes{0xEE}) << "the byte went to the keyboard";
}

TEST(I8042, UnknownCommandsAreIgnored) {
    Bench b;
    b.command(0x00);
    b.command(0xE0);
    EXPECT_EQ(b.status() & 0x01, 0x00U);
}

TEST(Ps2Keyboard, AnswersItsCommandsAtOnce) {
    Bench b;
    b.start();
    EXPECT_EQ(b.keyboard(0xFF), (Bytes{0xFA, 0xAA}));
    EXPECT_EQ(b.keyboard(0xF2), (Bytes{0xFA, 0xAB, 0x83}));
    EXPECT_EQ(b.keyboard(0xEE), Bytes{0xEE});
    EXPECT_EQ(b.keyboard(0xED), Bytes{0xFA});
    EXPECT_EQ(b.keyboard(0x02), Bytes{0xFA});
    EXPECT_EQ(b.controller.keyboard().lights(), 0x02);
    EXPECT_EQ(b.keyboard(0xF3), Bytes{0xFA});
    EXPECT_EQ(b.keyboard(0x20), Bytes{0xFA});
    EXPECT_EQ(b.keyboard(0xF6), Bytes{0xFA});
    EXPECT_EQ(b.keyboard(0xF4), Bytes{0xFA});
    EXPECT_EQ(b.keyboard(0x12), Bytes{0xFE});
}

TEST(Ps2Keyboard, ACommandInPlaceOfAParameterIsACommand) {
    Bench b;
    b.start();
    b.keyboard(0xED);
    EXPECT_EQ(b.keyboard(0xEE), Bytes{0xEE});
    EXPECT_EQ(b.keyboard(0x01), Bytes{0xFE});
}

TEST(Ps2Keyboard, ResendGivesTheLastByteAgain) {
    Bench b;
    b.start();
    b.keyboard(0xF2);
    EXPECT_EQ(b.keyboard(0xFE), Bytes{0x83});
}

TEST(Ps2Keyboard, ScanCodeSetIsChosenAndReported) {
    Bench b;
    b.start();
    b.keyboard(0xF0);
    EXPECT_EQ(b.keyboard(0x01), Bytes{0xFA});
    b.controller.key(KEY_A, false);
    EXPECT_EQ(b.drain(), Bytes{0x9E});
    b.keyboard(0xF0);
    EXPECT_EQ(b.keyboard(0x00), (Bytes{0xFA, 0x01}));
    b.keyboard(0xF0);
    EXPECT_EQ(b.keyboard(0x03), Bytes{0xFE}) << "set 3 is left out";
    b.keyboard(0xF5);
    b.keyboard(0xF0);
    EXPECT_EQ(b.keyboard(0x00), (Bytes{0xFA, 0x02}));
}

TEST(Ps2Keyboard, SendsNoKeysWhileDisabled) {
    Bench b;
    b.start();
    b.keyboard(0xF5);
    b.controller.key(KEY_A, true);
    EXPECT_EQ(b.drain(), Bytes{});
    b.keyboard(0xF4);
    b.controller.key(KEY_A, true);
    EXPECT_EQ(b.drain(), Bytes{0x1C});
}

TEST(Ps2Keyboard, AFullBufferKeepsWholeKeysAndEndsWithTheOverrunCode) {
    Bench b;
    b.start();
    for (int i = 0; i < 50; ++i) {
        b.controller.key(KEY_UP, false);  // three bytes each
    }
    const Bytes got = b.drain();
    ASSERT_LE(got.size(), 17U) << "Linux gives up flushing after 16";
    ASSERT_EQ(got.size() % 3, 1U);
    for (std::size_t i = 0; i + 1 < got.size(); i += 3) {
        EXPECT_EQ((Bytes{got[i], got[i + 1], got[i + 2]}), (Bytes{0xE0, 0xF0, 0x75}));
    }
    EXPECT_EQ(got.back(), 0x00U);
    b.controller.key(KEY_A, true);
    EXPECT_EQ(b.drain(), Bytes{0x1C}) << "and it works again";
}

TEST(Ps2Mouse, AnswersItsCommandsAtOnce) {
    Bench b;
    b.start();
    EXPECT_EQ(b.mouse(0xFF), (Bytes{0xFA, 0xAA, 0x00}));
    EXPECT_EQ(b.mouse(0xF2), (Bytes{0xFA, 0x00}));
    EXPECT_EQ(b.mouse(0xE9), (Bytes{0xFA, 0x00, 0x02, 100}));
    EXPECT_EQ(b.mouse(0xE8), Bytes{0xFA});
    EXPECT_EQ(b.mouse(0x03), Bytes{0xFA});
    EXPECT_EQ(b.mouse(0xF3), Bytes{0xFA});
    EXPECT_EQ(b.mouse(40), Bytes{0xFA});
    EXPECT_EQ(b.mouse(0xE7), Bytes{0xFA});
    EXPECT_EQ(b.mouse(0xF4), Bytes{0xFA});
    EXPECT_EQ(b.mouse(0xE9), (Bytes{0xFA, 0x30, 0x03, 40}));
    EXPECT_EQ(b.mouse(0xFE), Bytes{40});
    EXPECT_EQ(b.mouse(0xE1), Bytes{0xFE});
    EXPECT_EQ(b.mouse(0xF6), Bytes{0xFA});
    EXPECT_EQ(b.mouse(0xE9), (Bytes{0xFA, 0x00, 0x02, 100}));
}

TEST(Ps2Mouse, StreamsMotionAndButtonsOnceEnabled) {
    Bench b;
    b.start();
    b.controller.move(1, 1, 0, 0);
    EXPECT_EQ(b.drain(true), Bytes{}) << "not enabled";
    b.mouse(0xF4);
    b.controller.move(5, 3, 0, backend::button_left);
    EXPECT_TRUE(b.irq_12.level);
    EXPECT_EQ(b.drain(true), (Bytes{0x29, 0x05, 0xFD})) << "up is positive on the wire";
    b.controller.move(-1, 0, 1, backend::button_left);
    EXPECT_EQ(b.drain(true), (Bytes{0x19, 0xFF, 0x00}));
    b.controller.move(0, 0, 0, 0);
    EXPECT_EQ(b.drain(true), (Bytes{0x08, 0x00, 0x00}));
    b.controller.move(0, 0, 0, 0);
    EXPECT_EQ(b.drain(true), Bytes{}) << "nothing new";
}

TEST(Ps2Mouse, TheWheelSequenceTurnsOnFourBytePackets) {
    Bench b;
    b.start();
    for (const unsigned rate : {200U, 100U, 80U}) {
        b.mouse(0xF3);
        b.mouse(rate);
    }
    EXPECT_EQ(b.mouse(0xF2), (Bytes{0xFA, 0x03}));
    b.mouse(0xF4);
    b.controller.move(0, 0, 1, 0);
    EXPECT_EQ(b.drain(true), (Bytes{0x08, 0x00, 0x00, 0xFF})) << "away from the user is negative";
    EXPECT_EQ(b.mouse(0xFF), (Bytes{0xFA, 0xAA, 0x00}));
    EXPECT_EQ(b.mouse(0xF2), (Bytes{0xFA, 0x00}));
}

TEST(Ps2Mouse, OtherRatesDoNotTurnOnTheWheel) {
    Bench b;
    b.start();
    for (const unsigned rate : {200U, 200U, 80U}) {
        b.mouse(0xF3);
        b.mouse(rate);
    }
    EXPECT_EQ(b.mouse(0xF2), (Bytes{0xFA, 0x00}));
}

TEST(Ps2Mouse, MotionIsAddedUpWhileAPacketWaitsAndLargeMotionIsSplit) {
    Bench b;
    b.start();
    b.mouse(0xF4);
    b.controller.move(300, 0, 0, 0);
    b.controller.move(200, 0, 0, 0);
    EXPECT_EQ(b.drain(true), (Bytes{0x08, 0xFF, 0x00, 0x08, 0xF5, 0x00})) << "255 and 245";
}

TEST(Ps2Mouse, RemoteModeSendsOnlyWhenAsked) {
    Bench b;
    b.start();
    b.mouse(0xF0);
    b.mouse(0xF4);
    b.controller.move(7, 0, 0, backend::button_right);
    EXPECT_EQ(b.drain(true), Bytes{});
    EXPECT_EQ(b.mouse(0xEB), (Bytes{0xFA, 0x0A, 0x07, 0x00}));
}

TEST(Ps2Mouse, WrapModeEchoesAllButItsEndAndReset) {
    Bench b;
    b.start();
    b.mouse(0xEE);
    EXPECT_EQ(b.mouse(0xF2), Bytes{0xF2});
    EXPECT_EQ(b.mouse(0xEC), Bytes{0xFA});
    EXPECT_EQ(b.mouse(0xF2), (Bytes{0xFA, 0x00}));
}

TEST(Ps2Mouse, TwoToOneScalingDoublesFastMotion) {
    Bench b;
    b.start();
    b.mouse(0xE7);
    b.mouse(0xF4);
    b.controller.move(2, 0, 0, 0);
    EXPECT_EQ(b.drain(true), (Bytes{0x08, 0x01, 0x00}));
    b.controller.move(-10, 0, 0, 0);
    EXPECT_EQ(b.drain(true), (Bytes{0x18, 0xEC, 0x00}));
}

TEST(Ps2Mouse, ExtremeMotionOfAFrontEndIsClamped) {
    Bench b;
    b.start();
    b.mouse(0xF4);
    b.controller.move(INT32_MIN, INT32_MIN, INT32_MAX, 0xFF);
    b.controller.move(INT32_MIN, INT32_MIN, INT32_MAX, 0xFF);
    EXPECT_EQ(b.data(), 0x1FU);
    EXPECT_EQ(b.data(), 0x01U) << "-255";
    EXPECT_EQ(b.data(), 0xFFU) << "255";
}

}  // namespace
}  // namespace cupule::device
