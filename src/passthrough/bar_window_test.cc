// A BAR in the guest: what is mapped, what is trapped, and how an access is cut.

#include "passthrough/bar_window.h"

#include <gtest/gtest.h>

#include <memory>

#include "hypervisor/fake/fake_vm.h"
#include "passthrough/vfio_container.h"
#include "passthrough/vfio_device.h"
#include "testing/fake_vfio.h"

namespace cupule::passthrough {
namespace {

using Mappings = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

constexpr const char* device_name = "0000:01:00.0";
constexpr std::uint64_t place = 0x8000'0000;

class BarWindowTest : public ::testing::Test, public VfioDomain::Listener {
  protected:
    void open(testing::FakeVfioRegion region) {
        std::vector<std::uint8_t> config(256);
        kernel_.add({.name = device_name, .regions = {{std::move(region)}}, .config = config});
        auto domain = VfioContainer::create(kernel_, *this);
        ASSERT_TRUE(domain);
        domain_ = std::move(*domain);
        const VfioPlace where{.name = device_name, .group = 1};
        ASSERT_TRUE(domain_->admit(where));
        auto device = VfioDevice::open(kernel_, *domain_, where, ResetChoice::best);
        ASSERT_TRUE(device) << device.error().message;
        device_ = std::move(*device);
        window_ = std::make_unique<BarWindow>(vm_, *device_, 0);
    }
    void descriptor_added(int) override {}
    void descriptor_removed(int) override {}
    std::uint64_t registers(std::uint64_t offset, unsigned size) {
        return kernel_.peek(device_name, 0, offset, size);
    }

    testing::FakeVfio kernel_;
    hypervisor::FakeVm vm_{{}};
    std::unique_ptr<VfioContainer> domain_;
    std::unique_ptr<VfioDevice> device_;
    std::unique_ptr<BarWindow> window_;
};

TEST_F(BarWindowTest, ABarSmallerThanAPageIsMappedWhereItBeginsAPage) {
    open({.size = 0x100, .mappable = true});
    ASSERT_EQ(device_->bar(0).pieces.size(), 1U);
    EXPECT_EQ(device_->bar(0).pieces[0].size, 0x1000U) << "VFIO has the rest of the page";
    window_->bar_moved(0, place);
    EXPECT_EQ(vm_.mappings(), (Mappings{{place, 0x1000}}));
    EXPECT_EQ(window_->mapped_size(), 0x1000U);
    window_->bar_moved(0, place + 0x100);
    EXPECT_TRUE(vm_.mappings().empty()) << "others have a part of that page";
    window_->bar_moved(0, place + 0x2000);
    EXPECT_EQ(vm_.mappings(), (Mappings{{place + 0x2000, 0x1000}}));
    window_->bar_moved(0, std::nullopt);
    EXPECT_TRUE(vm_.mappings().empty());
}

TEST_F(BarWindowTest, ABarSmallerThanAPageThatVfioDoesNotOwnIsTrapped) {
    open({.size = 0x100});
    window_->bar_moved(0, place);
    EXPECT_TRUE(vm_.mappings().empty());
    window_->write(0x10, 4, 0x1234'5678);
    EXPECT_EQ(registers(0x10, 4), 0x1234'5678U);
    EXPECT_EQ(window_->read(0x10, 4), 0x1234'5678U);
    EXPECT_EQ(window_->trapped(), 2U);
}

TEST_F(BarWindowTest, AccessesThatAreNotNaturalReachTheDeviceByteByByte) {
    open({.size = 0x1000});
    window_->write(0x11, 4, 0x4433'2211);
    EXPECT_EQ(registers(0x11, 4), 0x4433'2211U);
    EXPECT_EQ(registers(0x10, 1), 0U);
    EXPECT_EQ(registers(0x15, 1), 0U);
    EXPECT_EQ(window_->read(0x11, 4), 0x4433'2211U);
    EXPECT_EQ(window_->read(0x12, 3), 0x44'3322U);
    window_->write(0x20, 8, 0x8877'6655'4433'2211);
    EXPECT_EQ(window_->read(0x20, 8), 0x8877'6655'4433'2211U);
    EXPECT_EQ(window_->read(0xFFE, 4), 0xFFFF'0000U) << "there is nothing behind the BAR";
}

TEST_F(BarWindowTest, AnAccessAcrossTheEndOfAnOverlayIsNobodys) {
    struct Table : io::IoHandler {
        std::uint64_t read(std::uint64_t offset, unsigned) override { return 0xA0 + offset; }
        void write(std::uint64_t, unsigned, std::uint64_t) override { ++writes; }
        unsigned writes = 0;
    } table;
    open({.size = 0x4000, .mappable = true});
    window_->overlay(0x1800, 0x10, table);
    window_->bar_moved(0, place);
    EXPECT_EQ(vm_.mappings(), (Mappings{{place, 0x1000}, {place + 0x2000, 0x2000}}))
        << "the overlay's page is trapped";
    EXPECT_EQ(window_->read(0x1804, 4), 0xA4U);
    EXPECT_EQ(window_->read(0x180E, 4), 0xFFFF'FFFFU);
    window_->write(0x17FE, 4, 0x1234'5678);
    window_->write(0x1808, 4, 1);
    EXPECT_EQ(table.writes, 1U);
    EXPECT_EQ(registers(0x17FE, 4), 0U);
    window_->write(0x1810, 4, 0x1234'5678);
    EXPECT_EQ(registers(0x1810, 4), 0x1234'5678U) << "the rest of the page is the device's";
}

}  // namespace
}  // namespace cupule::passthrough
