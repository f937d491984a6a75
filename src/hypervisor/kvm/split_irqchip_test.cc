#include "hypervisor/kvm/split_irqchip.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

#include "base/file_descriptor.h"

namespace cupule::hypervisor {
namespace {

constexpr std::uint64_t ioapic = 0xFEC0'0000;

class Next : public io::IoClient {
  public:
    void handle(io::IoRequest& request) override {
        addresses.push_back(request.address);
        request.value = 0x77;
        request.state = io::IoState::complete;
    }
    std::vector<std::uint64_t> addresses;
};

class SplitIrqchipTest : public testing::Test, public SplitIrqchipHost {
  protected:
    void SetUp() override { chips_.set_next(next_); }
    void send(const irq::MsiMessage& message) override { sent_.push_back(message.data); }
    void watch_end(unsigned pin, const irq::MsiMessage&) override { watched_.push_back(pin); }
    void external_interrupt() override { ++externals_; }

    std::uint64_t access(io::IoKind kind, io::IoDirection direction, std::uint64_t address,
                         std::uint8_t size, std::uint64_t value = 0) {
        io::IoRequest request{.kind = kind,
                              .direction = direction,
                              .state = io::IoState::processing,
                              .size = size,
                              .address = address,
                              .value = value};
        chips_.handle(request);
        EXPECT_EQ(request.state, io::IoState::complete);
        return request.value;
    }
    std::uint64_t read_port(std::uint64_t port, std::uint8_t size = 1) {
        return access(io::IoKind::port, io::IoDirection::read, port, size);
    }
    void write_port(std::uint64_t port, std::uint64_t value, std::uint8_t size = 1) {
        access(io::IoKind::port, io::IoDirection::write, port, size, value);
    }
    void write_memory(std::uint64_t address, std::uint64_t value) {
        access(io::IoKind::mmio, io::IoDirection::write, address, 4, value);
    }
    void set_entry(unsigned pin, std::uint32_t low) {
        write_memory(ioapic, 0x10 + 2 * pin);
        write_memory(ioapic + 0x10, low);
    }

    std::vector<std::uint32_t> sent_;
    std::vector<unsigned> watched_;
    unsigned externals_ = 0;
    Next next_;
    SplitIrqchip chips_{*this};
};

TEST_F(SplitIrqchipTest, TakesItsOwnAccessesAndPassesTheOthersOn) {
    read_port(0x20);
    read_port(0x4D1);
    write_memory(ioapic, 1);
    EXPECT_EQ(access(io::IoKind::mmio, io::IoDirection::read, ioapic + 0x10, 4), 0x002F'0011U);
    EXPECT_TRUE(next_.addresses.empty());
    EXPECT_EQ(read_port(0x40), 0x77U);
    EXPECT_EQ(access(io::IoKind::mmio, io::IoDirection::read, ioapic + 0x1000, 4), 0x77U);
    EXPECT_EQ(access(io::IoKind::mmio, io::IoDirection::read, ioapic - 4, 4), 0x77U);
    EXPECT_EQ(access(io::IoKind::mmio, io::IoDirection::read, ioapic + 0xFFC, 8), 0x77U);
    EXPECT_EQ(access(io::IoKind::pci_config, io::IoDirection::read, 0x20, 1), 0x77U);
    EXPECT_EQ(next_.addresses.size(), 5U);
}

TEST_F(SplitIrqchipTest, AWordReachesBothPortsOfA8259) {
    write_port(0x20, 0x0811, 2);  // ICW1, ICW2
    write_port(0x21, 0x04);
    write_port(0x21, 0x01);
    write_port(0x21, 0xFE);
    EXPECT_EQ(read_port(0x20, 2), 0xFE00U);
    EXPECT_EQ(read_port(0x20, 4), 0xFFFF'FE00U);
}

TEST_F(SplitIrqchipTest, TheTimersInputIsTheFirstOfThe8259s) {
    set_entry(2, 0x30);
    set_entry(0, 0x99);
    chips_.drive(2, true);
    chips_.drive(2, false);
    EXPECT_EQ(sent_, std::vector{0x30U});
    EXPECT_TRUE(chips_.has_external());
    EXPECT_EQ(read_port(0x20), 0x01U);
}

TEST_F(SplitIrqchipTest, AnIsaLineReachesBothChips) {
    set_entry(9, 0x39);
    chips_.drive(9, true);
    EXPECT_EQ(sent_, std::vector{0x39U});
    EXPECT_EQ(read_port(0xA0), 0x02U);
}

TEST_F(SplitIrqchipTest, ThePciInputsReachTheIoapicOnly) {
    set_entry(47, 0x47);
    chips_.drive(47, true);
    EXPECT_EQ(sent_, std::vector{0x47U});
    EXPECT_FALSE(chips_.has_external());
}

TEST_F(SplitIrqchipTest, TheBootProcessorIsToldOnceOfAnExternalInterrupt) {
    chips_.drive(4, true);
    chips_.drive(3, true);
    EXPECT_EQ(externals_, 1U);
    chips_.acknowledge();
    EXPECT_FALSE(chips_.has_external()) << "4 waits for the end of 3";
    write_port(0x20, 0x20);
    EXPECT_EQ(externals_, 2U);
}

TEST_F(SplitIrqchipTest, AReportedEndSendsALevelThatStandsAgain) {
    set_entry(20, 0x8050);
    chips_.drive(20, true);
    chips_.end_of_interrupt(0x50);
    EXPECT_EQ(sent_, (std::vector{0xC050U, 0xC050U}));
    EXPECT_EQ(watched_, std::vector{20U});
}

TEST_F(SplitIrqchipTest, ResetIsOfBothChips) {
    set_entry(20, 0x50);
    chips_.drive(4, true);
    chips_.reset();
    EXPECT_FALSE(chips_.has_external());
    chips_.drive(20, true);
    EXPECT_TRUE(sent_.empty());
}

TEST_F(SplitIrqchipTest, ASourceAssertsAnInputUntilTheGuestEndsTheInterrupt) {
    const auto resample = base::make_eventfd();
    ASSERT_TRUE(resample);
    const auto told = [&] {
        std::uint64_t count = 0;
        return ::read(resample->get(), &count, sizeof count) == sizeof count;
    };
    chips_.drive(16, true);  // idle: PCI's inputs are asserted low
    set_entry(16, 0xA031);   // level, active low
    chips_.add_source(16, resample->get());
    chips_.assert_source(16);
    EXPECT_EQ(sent_.size(), 1U);
    EXPECT_FALSE(told());
    chips_.end_of_interrupt(0x32);
    EXPECT_FALSE(told()) << "another vector";
    chips_.end_of_interrupt(0x31);
    EXPECT_TRUE(told());
    EXPECT_EQ(sent_.size(), 1U) << "released, so not sent again";
    chips_.drive(16, false);
    EXPECT_EQ(sent_.size(), 2U) << "the other source of the line";
    chips_.end_of_interrupt(0x31);
    EXPECT_EQ(sent_.size(), 3U) << "which is still asserted";
    chips_.drive(16, true);
    chips_.assert_source(16);
    chips_.remove_source(16, resample->get());
    chips_.end_of_interrupt(0x31);
    EXPECT_EQ(sent_.size(), 3U) << "a source that has gone asserts nothing";
}

TEST_F(SplitIrqchipTest, AResetReleasesASourceWhoseInterruptNobodyEndsAnyMore) {
    const auto resample = base::make_eventfd();
    ASSERT_TRUE(resample);
    chips_.drive(16, true);
    set_entry(16, 0xA031);
    chips_.add_source(16, resample->get());
    chips_.assert_source(16);
    EXPECT_EQ(sent_.size(), 1U);
    chips_.reset();
    std::uint64_t count = 0;
    EXPECT_EQ(::read(resample->get(), &count, sizeof count), static_cast<ssize_t>(sizeof count));
    set_entry(16, 0xA031);
    EXPECT_EQ(sent_.size(), 1U) << "the line has fallen";
    chips_.assert_source(16);
    EXPECT_EQ(sent_.size(), 2U);
}

}  // namespace
}  // namespace cupule::hypervisor
