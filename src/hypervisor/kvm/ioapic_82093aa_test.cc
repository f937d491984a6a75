#include "hypervisor/kvm/ioapic_82093aa.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace cupule::hypervisor {
namespace {

constexpr std::uint64_t select_offset = 0x00;
constexpr std::uint64_t window_offset = 0x10;

/// Entries as a driver writes them: vector 0x51 to APIC 3, and what is added to it.
constexpr std::uint64_t plain = 0x0300'0000'0000'0051;
constexpr std::uint64_t active_low = 1U << 13;
constexpr std::uint64_t remote_irr = 1U << 14;
constexpr std::uint64_t level = 1U << 15;
constexpr std::uint64_t masked = 1U << 16;
constexpr irq::MsiMessage edge_message{.address = 0xFEE0'3000, .data = 0x51};
constexpr irq::MsiMessage level_message{.address = 0xFEE0'3000, .data = 0xC051};

class IoapicTest : public testing::Test, public IoapicOutputs {
  protected:
    void send(const irq::MsiMessage& message) override { sent_.push_back(message); }
    void watch_end(unsigned pin, const irq::MsiMessage& message) override {
        watched_.emplace_back(pin, message);
        sent_before_watch_ = sent_.size();
    }

    void set_register(std::uint8_t index, std::uint32_t value) {
        chip_.write(select_offset, 4, index);
        chip_.write(window_offset, 4, value);
    }
    std::uint32_t get_register(std::uint8_t index) {
        chip_.write(select_offset, 4, index);
        return static_cast<std::uint32_t>(chip_.read(window_offset, 4));
    }
    static std::uint8_t entry_index(unsigned pin) {
        return static_cast<std::uint8_t>(0x10 + 2 * pin);
    }
    /// As drivers do: the high half first.
    void set_entry(unsigned pin, std::uint64_t value) {
        set_register(static_cast<std::uint8_t>(entry_index(pin) + 1),
                     static_cast<std::uint32_t>(value >> 32));
        set_register(entry_index(pin), static_cast<std::uint32_t>(value));
    }
    std::uint64_t get_entry(unsigned pin) {
        const std::uint64_t high = get_register(static_cast<std::uint8_t>(entry_index(pin) + 1));
        return high << 32 | get_register(entry_index(pin));
    }
    std::size_t sent() const { return sent_.size(); }

    std::vector<irq::MsiMessage> sent_;
    std::vector<std::pair<unsigned, irq::MsiMessage>> watched_;
    std::size_t sent_before_watch_ = 0;
    Ioapic82093aa chip_{*this};
};

// Registers.

TEST_F(IoapicTest, ItsVersionTellsOf48Inputs) {
    EXPECT_EQ(get_register(1), 0x002F'0011U);
    set_register(1, 0);
    EXPECT_EQ(get_register(1), 0x002F'0011U);
}

TEST_F(IoapicTest, TheIdHasFourBitsAndIsTheArbitrationsToo) {
    EXPECT_EQ(get_register(0), 0U);
    set_register(0, 0xFFFF'FFFF);
    EXPECT_EQ(get_register(0), 0x0F00'0000U);
    EXPECT_EQ(get_register(2), 0x0F00'0000U);
    set_register(2, 0);
    EXPECT_EQ(get_register(2), 0x0F00'0000U);
}

TEST_F(IoapicTest, TheSelectRegisterReadsBackItsEightBits) {
    chip_.write(select_offset, 4, 0xABCD'EF12);
    EXPECT_EQ(chip_.read(select_offset, 4), 0x12U);
    chip_.write(select_offset, 1, 0x10);
    EXPECT_EQ(chip_.read(select_offset, 1), 0x10U);
}

TEST_F(IoapicTest, EntriesAreMaskedAtPowerOnAndKeepWhatIsWritable) {
    for (const unsigned pin : {0U, 23U, 24U, 47U}) {
        EXPECT_EQ(get_entry(pin), masked) << pin;
        set_entry(pin, ~std::uint64_t{0});
        EXPECT_EQ(get_entry(pin), 0xFF00'0000'0001'AFFFU) << pin;
    }
}

TEST_F(IoapicTest, IndexesOfNothingReadZeroAndTakeNothing) {
    for (const unsigned index : {0x03U, 0x0FU, 0x70U, 0xFFU}) {
        set_register(static_cast<std::uint8_t>(index), 0xFFFF'FFFF);
        EXPECT_EQ(get_register(static_cast<std::uint8_t>(index)), 0U) << index;
    }
}

TEST_F(IoapicTest, OffsetsOfNothingReadOnes) {
    chip_.write(0x20, 4, 1);
    EXPECT_EQ(chip_.read(0x04, 4), 0xFFFF'FFFFU);
    EXPECT_EQ(chip_.read(0x40, 4), 0xFFFF'FFFFU);
    EXPECT_EQ(chip_.read(0xFFF, 1), 0xFFU);
}

TEST_F(IoapicTest, TheWindowsBytesCanBeReachedOneByOne) {
    chip_.write(select_offset, 4, entry_index(5));
    chip_.write(window_offset, 1, 0x77);
    EXPECT_EQ(chip_.read(window_offset, 4), masked | 0x77);
    EXPECT_EQ(chip_.read(window_offset + 2, 1), 1U);
    EXPECT_EQ(chip_.read(window_offset, 8), masked | 0x77);
}

// Edges.

TEST_F(IoapicTest, ARisingEdgeSendsTheEntrysMessageOnce) {
    set_entry(4, plain);
    chip_.set_pin(4, true);
    chip_.set_pin(4, true);
    chip_.set_pin(4, false);
    EXPECT_EQ(sent_, std::vector{edge_message});
    chip_.set_pin(4, true);
    EXPECT_EQ(sent(), 2U);
    EXPECT_TRUE(watched_.empty());
}

TEST_F(IoapicTest, AnActiveLowEdgeIsAFallingOne) {
    chip_.set_pin(40, true);
    set_entry(40, plain | active_low);
    EXPECT_EQ(sent(), 0U);
    chip_.set_pin(40, false);
    EXPECT_EQ(sent(), 1U);
    chip_.set_pin(40, true);
    EXPECT_EQ(sent(), 1U);
}

TEST_F(IoapicTest, AnEdgeOfAMaskedInputIsLost) {
    set_entry(4, plain | masked);
    chip_.set_pin(4, true);
    set_entry(4, plain);
    EXPECT_EQ(sent(), 0U);
}

TEST_F(IoapicTest, MessagesCarryLogicalDestinationsAndDeliveryModes) {
    for (const unsigned mode : {0U, 1U, 2U, 4U, 5U}) {
        sent_.clear();
        set_entry(7, plain | 1U << 11 | mode << 8);
        chip_.set_pin(7, true);
        chip_.set_pin(7, false);
        EXPECT_EQ(
            sent_,
            (std::vector<irq::MsiMessage>{{.address = 0xFEE0'3004, .data = 0x51 | mode << 8}}));
    }
}

TEST_F(IoapicTest, ModesWithoutAMessageSendNothing) {
    for (const unsigned mode : {3U, 6U, 7U}) {
        set_entry(7, plain | mode << 8);
        chip_.set_pin(7, true);
        chip_.set_pin(7, false);
    }
    EXPECT_EQ(sent(), 0U);
}

// Levels.

TEST_F(IoapicTest, ALevelIsSentOnceUntilItsEnd) {
    set_entry(33, plain | level);
    chip_.set_pin(33, true);
    chip_.set_pin(33, false);
    chip_.set_pin(33, true);
    EXPECT_EQ(sent_, std::vector{level_message});
    EXPECT_EQ(get_entry(33), plain | level | remote_irr);
}

TEST_F(IoapicTest, AtItsEndALevelThatStandsIsSentAgain) {
    set_entry(33, plain | level);
    chip_.set_pin(33, true);
    chip_.end_of_interrupt(0x51);
    EXPECT_EQ(sent(), 2U);
    chip_.set_pin(33, false);
    chip_.end_of_interrupt(0x51);
    EXPECT_EQ(sent(), 2U);
    EXPECT_EQ(get_entry(33), plain | level);
}

TEST_F(IoapicTest, TheEndOfAnotherVectorChangesNothing) {
    set_entry(33, plain | level);
    chip_.set_pin(33, true);
    chip_.end_of_interrupt(0x52);
    EXPECT_EQ(get_entry(33), plain | level | remote_irr);
}

TEST_F(IoapicTest, InputsThatShareAVectorEndTogether) {
    set_entry(20, plain | level);
    set_entry(21, plain | level);
    chip_.set_pin(20, true);
    chip_.set_pin(21, true);
    EXPECT_EQ(sent(), 2U);
    chip_.set_pin(20, false);
    chip_.end_of_interrupt(0x51);
    EXPECT_EQ(sent(), 3U);
    EXPECT_EQ(get_entry(20), plain | level);
    EXPECT_EQ(get_entry(21), plain | level | remote_irr);
}

TEST_F(IoapicTest, AnActiveLowLevelIsSentWhileItIsLow) {
    chip_.set_pin(16, true);
    set_entry(16, plain | level | active_low);
    EXPECT_EQ(sent(), 0U);
    chip_.set_pin(16, false);
    EXPECT_EQ(sent(), 1U);
    chip_.set_pin(16, true);
    chip_.end_of_interrupt(0x51);
    EXPECT_EQ(sent(), 1U);
}

TEST_F(IoapicTest, AMaskedLevelWaitsForItsUnmasking) {
    set_entry(18, plain | level | masked);
    chip_.set_pin(18, true);
    EXPECT_EQ(sent(), 0U);
    set_entry(18, plain | level);
    EXPECT_EQ(sent(), 1U);
}

TEST_F(IoapicTest, AMaskedLevelThatEndsIsNotSentAgain) {
    set_entry(18, plain | level);
    chip_.set_pin(18, true);
    set_entry(18, plain | level | masked);
    chip_.end_of_interrupt(0x51);
    EXPECT_EQ(sent(), 1U);
    set_entry(18, plain | level);
    EXPECT_EQ(sent(), 2U);
}

TEST_F(IoapicTest, TheRemoteIrrCannotBeWritten) {
    set_entry(18, plain | level | remote_irr);
    EXPECT_EQ(get_entry(18), plain | level);
    chip_.set_pin(18, true);
    set_entry(18, plain | level);
    EXPECT_EQ(get_entry(18), plain | level | remote_irr);
}

TEST_F(IoapicTest, AnEntryMadeEdgeTriggeredLosesItsRemoteIrr) {
    set_entry(18, plain | level);
    chip_.set_pin(18, true);
    set_entry(18, plain | masked);
    EXPECT_EQ(get_entry(18), plain | masked);
    set_entry(18, plain | level);
    EXPECT_EQ(sent(), 2U);
}

// Ends.

TEST_F(IoapicTest, ALevelEntrysEndIsWatchedBeforeItIsSent) {
    chip_.set_pin(18, true);
    set_entry(18, plain | level);
    ASSERT_EQ(watched_.size(), 1U);
    EXPECT_EQ(watched_[0].first, 18U);
    EXPECT_EQ(watched_[0].second, level_message);
    EXPECT_EQ(sent_before_watch_, 0U);
    EXPECT_EQ(sent(), 1U);
}

TEST_F(IoapicTest, MaskingAndUnmaskingDoesNotChangeWhatIsWatched) {
    set_entry(18, plain | level);
    set_register(entry_index(18), static_cast<std::uint32_t>(plain | level | masked));
    set_register(entry_index(18), static_cast<std::uint32_t>(plain | level));
    EXPECT_EQ(watched_.size(), 1U);
}

TEST_F(IoapicTest, ResetMasksEveryEntryAndKeepsTheLinesLevels) {
    set_register(0, 0x0300'0000);
    set_entry(18, plain | level);
    chip_.set_pin(18, true);
    chip_.reset();
    EXPECT_EQ(get_register(0), 0U);
    EXPECT_EQ(get_entry(18), masked);
    set_entry(18, plain | level);
    EXPECT_EQ(sent(), 2U);
    EXPECT_EQ(watched_.size(), 2U);
}

}  // namespace
}  // namespace cupule::hypervisor
