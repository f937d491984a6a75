#include "device/serial/uart_16550.h"

#include <gtest/gtest.h>

#include "testing/device_contract.h"
#include "testing/fake_byte_channel.h"
#include "testing/fake_lines.h"

namespace cupule::device {
namespace {

struct Bench {
    testing::FakeLevelLine line;
    testing::FakeByteChannel channel;
    Uart16550 uart{line, channel};

    std::uint8_t in(std::uint64_t offset) {
        return static_cast<std::uint8_t>(uart.read(offset, 1));
    }
    void out(std::uint64_t offset, unsigned value) { uart.write(offset, 1, value); }
    void print(std::string_view text) {
        for (const char c : text) {
            out(0, static_cast<std::uint8_t>(c));
        }
    }
    /// FIFOs on, OUT2 set, the given interrupts on.
    void start(unsigned interrupts, unsigned fifo_control = 0x01) {
        out(2, fifo_control);
        out(4, 0x0B);
        out(1, interrupts);
    }
};

testing::ContractSubject make_subject() {
    auto bench = std::make_shared<Bench>();
    bench->channel.room = 0;
    Bench* raw = bench.get();
    return {.owner = bench,
            .device = &bench->uart,
            .ranges = {{.handler = &bench->uart, .size = 8}},
            .disturb = [raw](std::uint64_t random) {
                raw->channel.send(std::string(random % 5, 'x'));
                raw->channel.incoming.clear();
                raw->channel.make_room(random % 3);
                raw->channel.room = 0;
            }};
}

CUPULE_DEVICE_CONTRACT(Uart16550, make_subject)

TEST(Uart16550, PowerOnStateIsThatOfTheDataSheet) {
    Bench b;
    EXPECT_EQ(b.in(1), 0x00);
    EXPECT_EQ(b.in(2), 0x01);
    EXPECT_EQ(b.in(3), 0x00);
    EXPECT_EQ(b.in(4), 0x00);
    EXPECT_EQ(b.in(5), 0x60);
    EXPECT_EQ(b.in(6) & 0x0F, 0x00);
    EXPECT_FALSE(b.line.level);
}

TEST(Uart16550, WrittenBytesGoToTheChannelAtOnceAndTheTransmitterStaysEmpty) {
    Bench b;
    b.print("hello");
    EXPECT_EQ(b.channel.written, "hello");
    EXPECT_EQ(b.in(5), 0x60);
}

TEST(Uart16550, DivisorLatchHidesDataAndInterruptEnable) {
    Bench b;
    b.out(1, 0x05);
    b.out(3, 0x83);
    b.out(0, 0x34);
    b.out(1, 0x12);
    EXPECT_EQ(b.uart.read(0, 2), 0x1234U);
    EXPECT_EQ(b.channel.written, "");
    b.out(3, 0x03);
    EXPECT_EQ(b.in(1), 0x05);
}

TEST(Uart16550, ReservedBitsOfInterruptEnableAndModemControlReadZero) {
    Bench b;
    b.out(1, 0xFF);
    b.out(4, 0xFF);
    EXPECT_EQ(b.in(1), 0x0F);
    EXPECT_EQ(b.in(4), 0x1F);
}

TEST(Uart16550, LinuxFindsA16550AByItsFifoBits) {
    Bench b;
    EXPECT_EQ(b.in(2) >> 6, 0);
    b.out(2, 0x01);
    EXPECT_EQ(b.in(2) >> 6, 3);
    b.out(2, 0x21);
    EXPECT_EQ(b.in(2) & 0x20, 0) << "no 64-byte FIFO as a 16750 has";
}

TEST(Uart16550, EnablingTheTransmitterInterruptRaisesItAndReadingIirClearsIt) {
    Bench b;
    b.start(0x02);
    EXPECT_TRUE(b.line.level);
    EXPECT_EQ(b.in(2), 0xC2);
    EXPECT_FALSE(b.line.level);
    EXPECT_EQ(b.in(2), 0xC1);
    b.out(1, 0x00);
    b.out(1, 0x02);
    EXPECT_EQ(b.in(2), 0xC2) << "re-enabling asserts it again";
}

TEST(Uart16550, EachBurstRaisesOneTransmitterInterrupt) {
    Bench b;
    b.start(0x02);
    b.in(2);
    const int rises = b.line.rises;
    b.print("0123456789abcdef");
    EXPECT_EQ(b.line.rises, rises + 1);
    EXPECT_EQ(b.in(2), 0xC2);
}

TEST(Uart16550, ADriverThatSendsUntilNoneIsPendingGetsAPauseAndANewEdge) {
    Bench b;
    b.start(0x02);
    int reports = 0;
    int rises = 0;
    for (int round = 0; round < 1000; ++round) {
        rises = b.line.rises;
        if (b.in(2) == 0xC1) {
            break;
        }
        ++reports;
        b.print("x");
    }
    EXPECT_EQ(reports, Uart16550::empty_reports_max);
    EXPECT_EQ(b.line.rises, rises + 1);
    EXPECT_TRUE(b.line.level);
    EXPECT_EQ(b.in(2), 0xC2) << "the cause is still there";
}

TEST(Uart16550, OutputTwoGatesTheInterruptLine) {
    Bench b;
    b.out(1, 0x02);
    EXPECT_FALSE(b.line.level);
    EXPECT_EQ(b.in(2) & 0xF, 0x2);
    b.out(1, 0x00);
    b.out(1, 0x02);
    b.out(4, 0x08);
    EXPECT_TRUE(b.line.level);
    b.out(4, 0x00);
    EXPECT_FALSE(b.line.level);
}

TEST(Uart16550, AFullChannelHoldsBackThreAndLosesNothing) {
    Bench b;
    b.start(0x02);
    b.in(2);
    b.channel.room = 2;
    b.print("abcd");
    EXPECT_EQ(b.channel.written, "ab");
    EXPECT_EQ(b.in(5) & 0x60, 0x00);
    EXPECT_EQ(b.in(2), 0xC1);
    EXPECT_FALSE(b.line.level);
    b.channel.make_room(1);
    EXPECT_EQ(b.in(5) & 0x60, 0x00) << "one byte still waits";
    b.channel.make_room(10);
    EXPECT_EQ(b.channel.written, "abcd");
    EXPECT_EQ(b.in(5) & 0x60, 0x60);
    EXPECT_TRUE(b.line.level);
    EXPECT_EQ(b.in(2), 0xC2);
}

TEST(Uart16550, AFullTransmitterDropsOnlyWhatComesOnTop) {
    Bench b;
    b.out(2, 0x01);
    b.channel.room = 0;
    b.print("0123456789abcdefXY");
    b.channel.make_room(100);
    EXPECT_EQ(b.channel.written, "0123456789abcdef");
}

TEST(Uart16550, ResettingTheSenderDropsWaitingBytes) {
    Bench b;
    b.start(0x02);
    b.channel.room = 0;
    b.print("abc");
    b.in(2);
    b.out(2, 0x05);
    EXPECT_EQ(b.in(5) & 0x60, 0x60);
    EXPECT_EQ(b.in(2), 0xC2);
    b.channel.make_room(100);
    EXPECT_EQ(b.channel.written, "");
}

TEST(Uart16550, ReceivedBytesAreReadInOrderAndClearDataReady) {
    Bench b;
    b.out(2, 0x01);
    b.channel.send("hi");
    EXPECT_EQ(b.in(5), 0x61);
    EXPECT_EQ(b.in(0), 'h');
    EXPECT_EQ(b.in(0), 'i');
    EXPECT_EQ(b.in(5), 0x60);
    EXPECT_EQ(b.in(0), 'i') << "an empty receiver repeats its last byte";
}

TEST(Uart16550, TheReceiverTakesOnlyWhatItHasRoomForAndRefillsAsItIsRead) {
    Bench b;
    b.out(2, 0x01);
    b.channel.send("0123456789abcdefGHIJ");
    EXPECT_EQ(b.channel.incoming.size(), 4U);
    std::string got;
    while ((b.in(5) & 0x01) != 0) {
        got += static_cast<char>(b.in(0));
    }
    EXPECT_EQ(got, "0123456789abcdefGHIJ");
    EXPECT_EQ(b.in(5) & 0x02, 0) << "no overrun";
}

TEST(Uart16550, WithoutFifosThereIsRoomForOneByte) {
    Bench b;
    b.channel.send("ab");
    EXPECT_EQ(b.channel.incoming.size(), 1U);
    EXPECT_EQ(b.in(0), 'a');
    EXPECT_EQ(b.in(0), 'b');
}

TEST(Uart16550, BelowTheTriggerLevelDataIsACharacterTimeout) {
    Bench b;
    b.start(0x01, 0x81);  // 8 bytes
    b.channel.send("1234567");
    EXPECT_TRUE(b.line.level);
    EXPECT_EQ(b.in(2), 0xCC);
    EXPECT_EQ(b.in(2), 0xCC) << "reading IIR does not clear it";
    b.channel.send("8");
    EXPECT_EQ(b.in(2), 0xC4);
    b.in(0);
    EXPECT_EQ(b.in(2), 0xCC);
    for (int i = 0; i < 7; ++i) {
        b.in(0);
    }
    EXPECT_EQ(b.in(2), 0xC1);
    EXPECT_FALSE(b.line.level);
}

TEST(Uart16550, InterruptsAreReportedByPriority) {
    Bench b;
    b.out(2, 0x01);
    b.out(4, 0x1F);  // loopback
    b.out(1, 0x0F);
    b.out(4, 0x10);  // the modem lines change
    b.out(4, 0x18);
    for (int i = 0; i < 17; ++i) {
        b.out(0, 'x');
    }
    EXPECT_EQ(b.in(2), 0xC6);
    EXPECT_EQ(b.in(5) & 0x02, 0x02);
    EXPECT_EQ(b.in(2), 0xC4);
    b.out(2, 0x03);  // clear the receiver
    EXPECT_EQ(b.in(2), 0xC2);
    EXPECT_EQ(b.in(2), 0xC0);
    b.in(6);
    EXPECT_EQ(b.in(2), 0xC1);
}

TEST(Uart16550, LoopbackReturnsDataAndKeepsItFromTheChannel) {
    Bench b;
    b.out(4, 0x10);
    b.out(0, 0x5A);
    EXPECT_EQ(b.in(5) & 0x01, 0x01);
    EXPECT_EQ(b.in(0), 0x5A);
    EXPECT_EQ(b.channel.written, "");
    b.channel.send("q");
    EXPECT_EQ(b.in(5) & 0x01, 0x00) << "the outside is cut off";
    b.out(4, 0x00);
    EXPECT_EQ(b.in(0), 'q');
}

TEST(Uart16550, LoopbackJoinsModemOutputsToInputs) {
    Bench b;
    b.out(4, 0x1A);  // RTS and OUT2: what Linux probes with
    EXPECT_EQ(b.in(6) & 0xF0, 0x90);
    b.out(4, 0x15);  // DTR and OUT1
    EXPECT_EQ(b.in(6) & 0xF0, 0x60);
    b.out(4, 0x10);
    EXPECT_EQ(b.in(6), 0x06) << "DSR changed and the ring ended";
    EXPECT_EQ(b.in(6), 0x00) << "reading clears the changes";
    b.out(4, 0x14);
    EXPECT_EQ(b.in(6), 0x40) << "a ring that begins is no change";
}

TEST(Uart16550, ModemInputsAreOnOutsideLoopback) {
    Bench b;
    EXPECT_EQ(b.in(6), 0xB0);
}

TEST(Uart16550, OverrunKeepsTheOldBytesWithFifosAndTheNewWithout) {
    Bench b;
    b.out(4, 0x10);
    b.out(0, 1);
    b.out(0, 2);
    EXPECT_EQ(b.in(5) & 0x02, 0x02);
    EXPECT_EQ(b.in(5) & 0x02, 0x00) << "reading LSR clears it";
    EXPECT_EQ(b.in(0), 2);
    b.out(2, 0x01);
    for (unsigned i = 0; i < 17; ++i) {
        b.out(0, i);
    }
    EXPECT_EQ(b.in(5) & 0x02, 0x02);
    for (unsigned i = 0; i < 16; ++i) {
        EXPECT_EQ(b.in(0), i);
    }
    EXPECT_EQ(b.in(5) & 0x01, 0x00);
}

class BreakingChannel : public testing::FakeByteChannel {
  public:
    void set_events(backend::ByteChannelEvents* events) override {
        listener = events;
        FakeByteChannel::set_events(events);
    }
    backend::ByteChannelEvents* listener = nullptr;
};

TEST(Uart16550, ABreakIsAZeroByteWithItsErrorBitsAtTheTopOfTheFifo) {
    testing::FakeLevelLine line;
    BreakingChannel channel;
    Uart16550 uart(line, channel);
    uart.write(2, 1, 0x01);
    uart.write(1, 1, 0x04);
    uart.write(4, 1, 0x08);
    channel.send("a");
    channel.listener->break_received();
    EXPECT_EQ(uart.read(5, 1), 0xE1U) << "an error in the FIFO, not yet at its top";
    EXPECT_FALSE(line.level);
    EXPECT_EQ(uart.read(0, 1), 'a');
    EXPECT_TRUE(line.level);
    EXPECT_EQ(uart.read(2, 1), 0xC6U);
    EXPECT_EQ(uart.read(5, 1), 0xF9U);
    EXPECT_FALSE(line.level);
    EXPECT_EQ(uart.read(5, 1), 0x61U);
    EXPECT_EQ(uart.read(0, 1), 0U);
}

TEST(Uart16550, ChangingFifoModeClearsBothFifos) {
    Bench b;
    b.out(2, 0x01);
    b.channel.send("abc");
    b.out(2, 0x00);
    EXPECT_EQ(b.in(5), 0x60);
}

TEST(Uart16550, FifoControlBitsCountOnlyWithTheEnableBit) {
    Bench b;
    b.channel.send("a");
    b.out(2, 0xC6);
    EXPECT_EQ(b.in(5), 0x61) << "the byte is still there";
}

TEST(Uart16550, TheDestructorLeavesTheChannel) {
    testing::FakeLevelLine line;
    testing::FakeByteChannel channel;
    { Uart16550 uart(line, channel); }
    channel.send("nobody listens");
    EXPECT_EQ(channel.incoming.size(), 14U);
}

}  // namespace
}  // namespace cupule::device
