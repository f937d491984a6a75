#include "pci/msix.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "pci/interrupts.h"
#include "pci/msi.h"
#include "testing/config_range.h"
#include "testing/device_contract.h"
#include "testing/fake_lines.h"

namespace cupule::pci {
namespace {

using irq::MsiMessage;

constexpr Attributes test_attributes{
    .vendor_id = 0x1AF4, .device_id = 0x1042, .express = true, .uses_intx = true};
constexpr std::uint16_t master = Command::bus_master.mask;

class Observer : public VectorObserver {
  public:
    void vector_changed(unsigned vector, std::optional<MsiMessage> message) override {
        ++calls;
        messages[vector] = message;
    }
    int calls = 0;
    std::map<unsigned, std::optional<MsiMessage>> messages;
};

class MessageDevice : public snapshot::Device {
  public:
    MessageDevice() { function.connect_intx(1, &line); }
    void reset() override { function.reset(); }
    void visit(snapshot::Visitor& visitor) override { function.visit(visitor); }

    testing::FakeMessageSink sink;
    testing::FakeLevelLine line;
    Function function{test_attributes};
    Msix msix{
        function,
        sink,
        {.vectors = 70, .table_bar = 1, .table_offset = 0, .pba_bar = 1, .pba_offset = 0x800}};
    Msi msi{function, sink, 4};
    Interrupts interrupts{function, &msi, &msix};
    testing::ConfigRange config{function};
};

testing::ContractSubject make_subject() {
    auto device = std::make_shared<MessageDevice>();
    return {.owner = device,
            .device = device.get(),
            .ranges = {{.handler = &device->config, .size = express_config_size},
                       {.handler = &device->msix.table(), .size = Msix::table_size(70)},
                       {.handler = &device->msix.pba(), .size = Msix::pba_size(70)}},
            .disturb = [device](std::uint64_t random) {
                device->interrupts.notify(static_cast<unsigned>(random % 80));
                device->interrupts.set_level((random & 0x100) != 0);
            }};
}
CUPULE_DEVICE_CONTRACT(MessageDevice, make_subject)

class MsixTest : public ::testing::Test {
  protected:
    MsixTest() { command(master); }
    void command(std::uint16_t value) { device_.function.write_config(config::command, 2, value); }
    void control(std::uint16_t value) {
        device_.function.write_config(device_.msix.offset() + 2U, 2, value);
    }
    void program(unsigned vector, MsiMessage message, std::uint32_t vector_control) {
        io::IoHandler& table = device_.msix.table();
        table.write(vector * 16, 4, message.address & 0xFFFF'FFFF);
        table.write(vector * 16 + 4, 4, message.address >> 32);
        table.write(vector * 16 + 8, 4, message.data);
        table.write(vector * 16 + 12, 4, vector_control);
    }
    std::uint64_t pba(std::uint64_t offset = 0, unsigned size = 8) {
        return device_.msix.pba().read(offset, size);
    }
    std::vector<MsiMessage>& sent() { return device_.sink.messages; }

    static constexpr std::uint16_t enable = 0x8000;
    static constexpr std::uint16_t function_mask = 0x4000;
    static constexpr MsiMessage first{.address = 0xFEE0'1000, .data = 0x41};
    static constexpr MsiMessage second{.address = 0xFEE0'2000, .data = 0x42};
    MessageDevice device_;
};

TEST_F(MsixTest, DescribesItselfInTheCapability) {
    const std::uint64_t at = device_.msix.offset();
    EXPECT_EQ(device_.function.read_config(at, 1), 0x11U);
    EXPECT_EQ(device_.function.read_config(at + 2, 2), 69U);
    EXPECT_EQ(device_.function.read_config(at + 4, 4), 0x1U);
    EXPECT_EQ(device_.function.read_config(at + 8, 4), 0x801U);
}

TEST_F(MsixTest, AnUnmaskedVectorIsSentAtOnce) {
    program(1, first, 0);
    control(enable);
    device_.msix.notify(1);
    EXPECT_EQ(sent(), std::vector{first});
    EXPECT_EQ(pba(), 0U);
}

TEST_F(MsixTest, AMaskedVectorPendsAndIsSentOnceWhenUnmasked) {
    program(1, first, 1);
    control(enable);
    device_.msix.notify(1);
    device_.msix.notify(1);
    EXPECT_TRUE(sent().empty());
    EXPECT_EQ(pba(), 2U);
    device_.msix.table().write(16 + 12, 4, 0);
    EXPECT_EQ(sent(), std::vector{first});
    EXPECT_EQ(pba(), 0U);
}

TEST_F(MsixTest, TheFunctionMaskHoldsAllVectorsAndReleasesThem) {
    program(0, first, 0);
    program(69, second, 0);
    control(enable | function_mask);
    device_.msix.notify(69);
    device_.msix.notify(0);
    EXPECT_TRUE(sent().empty());
    EXPECT_EQ(pba(0), 1U);
    EXPECT_EQ(pba(8), 1U << 5);
    EXPECT_EQ(pba(8, 4), 1U << 5);
    control(enable);
    EXPECT_EQ(sent(), (std::vector{first, second}));
    EXPECT_EQ(pba(8), 0U);
}

TEST_F(MsixTest, UnmaskingTheFunctionLeavesMaskedVectorsPending) {
    program(0, first, 1);
    control(enable | function_mask);
    device_.msix.notify(0);
    control(enable);
    EXPECT_TRUE(sent().empty());
    EXPECT_EQ(pba(), 1U);
}

TEST_F(MsixTest, WithoutBusMasteringMessagesWait) {
    program(0, first, 0);
    control(enable);
    command(0);
    device_.msix.notify(0);
    EXPECT_TRUE(sent().empty());
    command(master);
    EXPECT_EQ(sent(), std::vector{first});
}

TEST_F(MsixTest, DisabledNothingHappens) {
    program(0, first, 0);
    device_.msix.notify(0);
    control(enable);
    EXPECT_TRUE(sent().empty());
}

TEST_F(MsixTest, AVectorThatDoesNotExistIsIgnored) {
    control(enable);
    device_.msix.notify(70);
    device_.msix.notify(~0U);
    EXPECT_TRUE(sent().empty());
    EXPECT_EQ(pba(8), 0U);
}

TEST_F(MsixTest, TheTableTakesQwordsAndKeepsItsReservedBits) {
    io::IoHandler& table = device_.msix.table();
    table.write(32, 8, 0x1234'5678'9ABC'DEFF);
    EXPECT_EQ(table.read(32, 8), 0x1234'5678'9ABC'DEFCU);
    EXPECT_EQ(table.read(36, 4), 0x1234'5678U);
    table.write(40, 8, 0xFFFF'FFFE'0000'0099);
    EXPECT_EQ(table.read(40, 8), 0x99U);
    EXPECT_EQ(table.read(34, 2), 0x9ABCU);
}

TEST_F(MsixTest, Class8_NarrowAndUnalignedTableWritesAreDropped) {
    io::IoHandler& table = device_.msix.table();
    table.write(0, 1, 0xFF);
    table.write(0, 2, 0xFFFF);
    table.write(2, 4, 0xFFFF'FFFF);
    table.write(4, 8, ~0ULL);
    EXPECT_EQ(table.read(0, 8), 0U);
    EXPECT_EQ(table.read(8, 8), 0x1'0000'0000U);  // masked at power-on
    EXPECT_EQ(table.read(2, 4), 0xFFFF'FFFFU);
}

TEST_F(MsixTest, TheGuestCannotWriteThePendingBits) {
    control(enable);
    device_.msix.pba().write(0, 8, ~0ULL);
    EXPECT_EQ(pba(), 0U);
}

TEST_F(MsixTest, ResetForgetsPendingBitsAndMasksEverything) {
    program(0, first, 1);
    control(enable);
    device_.msix.notify(0);
    device_.reset();
    EXPECT_EQ(pba(), 0U);
    EXPECT_EQ(device_.msix.table().read(12, 4), 1U);
    EXPECT_FALSE(device_.msix.enabled());
}

TEST_F(MsixTest, TheObserverHearsMessagesMasksAndDisabling) {
    Observer observer;
    device_.msix.set_observer(&observer);
    program(3, first, 0);
    EXPECT_EQ(observer.calls, 0);
    control(enable);
    EXPECT_EQ(observer.messages.at(3), first);
    device_.msix.table().write(3 * 16 + 8, 4, 0x77);
    EXPECT_EQ(observer.messages.at(3)->data, 0x77U);
    device_.msix.table().write(3 * 16 + 12, 4, 1);
    EXPECT_EQ(observer.messages.at(3), std::nullopt);
    device_.msix.table().write(3 * 16 + 12, 4, 0);
    control(0);
    EXPECT_EQ(observer.messages.at(3), std::nullopt);
    EXPECT_EQ(observer.calls, 5);
    EXPECT_EQ(observer.messages.size(), 1U);
}

TEST_F(MsixTest, ALateObserverHearsWhatCanBeSent) {
    program(3, first, 0);
    control(enable);
    Observer observer;
    device_.msix.set_observer(&observer);
    EXPECT_EQ(observer.messages.at(3), first);
    EXPECT_EQ(observer.calls, 1);
}

class MsiTest : public MsixTest {
  protected:
    void program_msi(std::uint16_t message_control) {
        const std::uint64_t at = device_.msi.offset();
        device_.function.write_config(at + 4, 4, 0xFEE0'3003);
        device_.function.write_config(at + 8, 4, 0);
        device_.function.write_config(at + 12, 2, 0x53);
        device_.function.write_config(at + 2, 2, message_control);
    }
    std::uint64_t msi(std::uint64_t offset, unsigned size) {
        return device_.function.read_config(device_.msi.offset() + offset, size);
    }
    static MsiMessage message(std::uint32_t data) { return {.address = 0xFEE0'3000, .data = data}; }
};

TEST_F(MsiTest, OffersFourMaskable64BitVectors) {
    EXPECT_EQ(msi(0, 1), 0x05U);
    EXPECT_EQ(msi(2, 2), 0x0184U);
}

TEST_F(MsiTest, PutsTheVectorIntoTheLowBitsOfTheData) {
    program_msi(0x0021);  // four granted
    for (unsigned vector = 0; vector < 4; ++vector) {
        device_.msi.notify(vector);
    }
    EXPECT_EQ(sent(), (std::vector{message(0x50), message(0x51), message(0x52), message(0x53)}));
}

TEST_F(MsiTest, WithOneGrantedAllVectorsShareIt) {
    program_msi(0x0001);
    device_.msi.notify(0);
    device_.msi.notify(3);
    EXPECT_EQ(sent(), (std::vector{message(0x53), message(0x53)}));
}

TEST_F(MsiTest, MoreThanOfferedIsGrantedAsOffered) {
    program_msi(0x0071);
    EXPECT_EQ(device_.msi.granted(), 4U);
}

TEST_F(MsiTest, AMaskedVectorPendsUntilUnmasked) {
    program_msi(0x0021);
    device_.function.write_config(device_.msi.offset() + 0x10U, 4, 0xFFFF'FFFF);
    EXPECT_EQ(msi(0x10, 4), 0xFU);
    device_.msi.notify(2);
    EXPECT_EQ(msi(0x14, 4), 0x4U);
    EXPECT_TRUE(sent().empty());
    device_.function.write_config(device_.msi.offset() + 0x10U, 4, 0xB);
    EXPECT_EQ(sent(), std::vector{message(0x52)});
    EXPECT_EQ(msi(0x14, 4), 0U);
}

TEST_F(MsiTest, InterruptsPicksMsixThenMsiThenIntx) {
    EXPECT_EQ(device_.interrupts.mode(), InterruptMode::intx);
    device_.interrupts.notify(0);
    EXPECT_TRUE(sent().empty());
    program_msi(0x0001);
    EXPECT_EQ(device_.interrupts.mode(), InterruptMode::msi);
    device_.interrupts.notify(0);
    program(0, first, 0);
    control(enable);
    EXPECT_EQ(device_.interrupts.mode(), InterruptMode::msix);
    device_.interrupts.notify(0);
    EXPECT_EQ(sent(), (std::vector{message(0x53), first}));
}

TEST_F(MsiTest, EnablingMessagesSilencesIntxAndDisablingBringsItBack) {
    device_.interrupts.set_level(true);
    EXPECT_TRUE(device_.line.level);
    program_msi(0x0001);
    EXPECT_FALSE(device_.line.level);
    EXPECT_TRUE(sent().empty());
    program_msi(0x0000);
    EXPECT_TRUE(device_.line.level);
}

TEST_F(MsiTest, ARisingLevelSendsOneMessage) {
    program_msi(0x0001);
    device_.interrupts.set_level(true);
    device_.interrupts.set_level(true);
    EXPECT_EQ(sent().size(), 1U);
    device_.interrupts.set_level(false);
    device_.interrupts.set_level(true);
    EXPECT_EQ(sent().size(), 2U);
}

}  // namespace
}  // namespace cupule::pci
