#include "hypervisor/kvm/pic_8259a.h"

#include <gtest/gtest.h>

namespace cupule::hypervisor {
namespace {

constexpr std::uint64_t command_1 = 0x20;
constexpr std::uint64_t data_1 = 0x21;
constexpr std::uint64_t command_2 = 0xA0;
constexpr std::uint64_t data_2 = 0xA1;

constexpr std::uint8_t end_any = 0x20;
constexpr std::uint8_t read_requests = 0x0A;
constexpr std::uint8_t read_in_service = 0x0B;

/// The pair as a BIOS leaves it: vectors 0x08 and 0x70, nothing masked.
class PicTest : public testing::Test {
  protected:
    void SetUp() override { initialise(0x01); }
    void initialise(std::uint8_t icw4) {
        for (const auto [command, data, vectors, cascade] :
             {std::array<std::uint64_t, 4>{command_1, data_1, 0x08, 0x04},
              std::array<std::uint64_t, 4>{command_2, data_2, 0x70, 0x02}}) {
            pic_.write(command, 0x11);
            pic_.write(data, static_cast<std::uint8_t>(vectors));
            pic_.write(data, static_cast<std::uint8_t>(cascade));
            pic_.write(data, icw4);
        }
    }
    void pulse(unsigned irq) {
        pic_.set_input(irq, true);
        pic_.set_input(irq, false);
    }
    std::uint8_t in_service(std::uint64_t command = command_1) {
        pic_.write(command, read_in_service);
        return pic_.read(command);
    }
    std::uint8_t requests(std::uint64_t command = command_1) {
        pic_.write(command, read_requests);
        return pic_.read(command);
    }

    Pic8259aPair pic_;
};

TEST_F(PicTest, OwnsItsSixPorts) {
    for (const unsigned port : {0x20U, 0x21U, 0xA0U, 0xA1U, 0x4D0U, 0x4D1U}) {
        EXPECT_TRUE(Pic8259aPair::owns(port)) << port;
    }
    for (const unsigned port : {0x1FU, 0x22U, 0x9FU, 0xA2U, 0x4CFU, 0x4D2U}) {
        EXPECT_FALSE(Pic8259aPair::owns(port)) << port;
    }
}

TEST_F(PicTest, APulseIsOneInterruptWithItsVector) {
    EXPECT_FALSE(pic_.output());
    pulse(4);
    ASSERT_TRUE(pic_.output());
    EXPECT_EQ(requests(), 0x10);
    EXPECT_EQ(pic_.acknowledge(), 0x0C);
    EXPECT_FALSE(pic_.output());
    EXPECT_EQ(requests(), 0);
    EXPECT_EQ(in_service(), 0x10);
    pic_.write(command_1, end_any);
    EXPECT_EQ(in_service(), 0);
}

TEST_F(PicTest, ALineThatStaysHighIsOneEdge) {
    pic_.set_input(4, true);
    pic_.set_input(4, true);
    pic_.acknowledge();
    pic_.write(command_1, end_any);
    EXPECT_FALSE(pic_.output());
}

TEST_F(PicTest, TheSecondChipsInterruptsComeThroughTheFirst) {
    pulse(12);
    EXPECT_EQ(pic_.acknowledge(), 0x74);
    EXPECT_EQ(in_service(command_1), 0x04);
    EXPECT_EQ(in_service(command_2), 0x10);
    pic_.write(command_2, end_any);
    pic_.write(command_1, end_any);
    pulse(8);
    EXPECT_EQ(pic_.acknowledge(), 0x70);
}

TEST_F(PicTest, TheCascadeIsNoLineOfADevice) {
    pulse(2);
    EXPECT_FALSE(pic_.output());
}

TEST_F(PicTest, LowerNumbersGoFirstAndNest) {
    pulse(5);
    pulse(3);
    EXPECT_EQ(pic_.acknowledge(), 0x0B);
    EXPECT_FALSE(pic_.output()) << "5 stands below what is in service";
    pulse(1);
    EXPECT_EQ(pic_.acknowledge(), 0x09);
    pic_.write(command_1, end_any);
    EXPECT_EQ(in_service(), 0x08) << "the highest in service ends first";
    pic_.write(command_1, end_any);
    EXPECT_EQ(pic_.acknowledge(), 0x0D);
}

TEST_F(PicTest, AMaskedRequestWaits) {
    pic_.write(data_1, 0x10);
    EXPECT_EQ(pic_.read(data_1), 0x10);
    pulse(4);
    EXPECT_FALSE(pic_.output());
    pic_.write(data_1, 0);
    EXPECT_TRUE(pic_.output());
}

TEST_F(PicTest, WithoutACauseTheAcknowledgeIsSpurious) {
    EXPECT_EQ(pic_.acknowledge(), 0x0F);
    EXPECT_EQ(in_service(), 0);
    pulse(12);
    pic_.write(data_2, 0xFF);
    EXPECT_EQ(pic_.acknowledge(), 0x77);
    EXPECT_EQ(in_service(command_2), 0);
}

TEST_F(PicTest, ASpecificEndEndsThatInput) {
    pulse(5);
    pic_.acknowledge();
    pulse(1);
    pic_.acknowledge();
    pic_.write(command_1, 0x60 | 5);
    EXPECT_EQ(in_service(), 0x02);
}

TEST_F(PicTest, ALevelInputAsksUntilItsLineFalls) {
    pic_.write(0x4D0, 0xFF);
    pic_.write(0x4D1, 0xFF);
    EXPECT_EQ(pic_.read(0x4D0), 0xF8) << "0 to 2 are edge-triggered for good";
    EXPECT_EQ(pic_.read(0x4D1), 0xDE) << "8 and 13 too";
    pic_.set_input(11, true);
    EXPECT_EQ(pic_.acknowledge(), 0x73);
    pic_.write(command_2, end_any);
    pic_.write(command_1, end_any);
    EXPECT_TRUE(pic_.output());
    pic_.set_input(11, false);
    EXPECT_EQ(requests(command_2), 0);
}

TEST_F(PicTest, AnAutomaticEndLeavesNothingInService) {
    initialise(0x03);
    pulse(4);
    pic_.acknowledge();
    EXPECT_EQ(in_service(), 0);
    pulse(4);
    EXPECT_TRUE(pic_.output());
}

TEST_F(PicTest, RotationMakesTheEndedInputTheLowest) {
    pulse(3);
    pic_.acknowledge();
    pic_.write(command_1, 0xA0);  // non-specific end, rotate
    pulse(3);
    pulse(7);
    EXPECT_EQ(pic_.acknowledge(), 0x0F) << "7 now stands above 3";
    pic_.write(command_1, 0xC0 | 7);  // set priority: 7 the lowest
    pic_.write(command_1, end_any);
    EXPECT_EQ(pic_.acknowledge(), 0x0B);
}

TEST_F(PicTest, AutomaticRotationFollowsEachAcknowledge) {
    initialise(0x03);
    pic_.write(command_1, 0x80);
    pulse(3);
    pic_.acknowledge();
    pulse(3);
    pulse(6);
    EXPECT_EQ(pic_.acknowledge(), 0x0E);
}

TEST_F(PicTest, SpecialMaskLetsLowerInputsThroughAMaskedOne) {
    pulse(3);
    pic_.acknowledge();
    pic_.write(data_1, 0x08);
    pulse(6);
    EXPECT_FALSE(pic_.output());
    pic_.write(command_1, 0x68);
    EXPECT_TRUE(pic_.output());
    pic_.write(command_1, 0x48);
    EXPECT_FALSE(pic_.output());
}

TEST_F(PicTest, SpecialFullyNestedLetsTheSecondChipNest) {
    pulse(12);
    pic_.acknowledge();
    pulse(8);
    EXPECT_FALSE(pic_.output());
    initialise(0x11);
    pulse(12);
    EXPECT_EQ(pic_.acknowledge(), 0x74);
    pulse(8);
    EXPECT_EQ(pic_.acknowledge(), 0x70);
}

TEST_F(PicTest, APollAcknowledges) {
    pulse(4);
    pic_.write(command_1, 0x0C);
    EXPECT_EQ(pic_.read(command_1), 0x84);
    EXPECT_EQ(in_service(), 0x10);
    pic_.write(command_1, 0x0C);
    EXPECT_EQ(pic_.read(command_1), 0);
}

TEST_F(PicTest, InitialisationWithoutIcw4AndSingleTakesTwoWords) {
    pic_.write(command_1, 0x12);
    pic_.write(data_1, 0x47);
    pic_.write(data_1, 0x01);
    EXPECT_EQ(pic_.read(data_1), 0x01);
    pulse(4);
    EXPECT_EQ(pic_.acknowledge(), 0x44);
}

TEST_F(PicTest, InitialisationForgetsEdgesAndKeepsLevels) {
    pic_.write(0x4D0, 0x20);
    pic_.set_input(5, true);
    pulse(4);
    initialise(0x01);
    EXPECT_EQ(requests(), 0x20);
}

TEST_F(PicTest, ResetReturnsToPowerOn) {
    pic_.write(data_1, 0xAA);
    pic_.write(0x4D0, 0xF8);
    pulse(0);
    pic_.reset();
    EXPECT_FALSE(pic_.output());
    EXPECT_EQ(pic_.read(data_1), 0);
    EXPECT_EQ(pic_.read(0x4D0), 0);
}

}  // namespace
}  // namespace cupule::hypervisor
