#include "machine/device_catalogue.h"

#include <gtest/gtest.h>

namespace cupule::machine {
namespace {

TEST(DeviceCatalogue, FindsEveryDeviceByItsNameAndNoOther) {
    for (const DeviceInfo& device : device_catalogue()) {
        EXPECT_EQ(find_device(device.name), &device) << device.name;
        EXPECT_FALSE(device.description.empty()) << device.name;
    }
    EXPECT_EQ(find_device("virtio"), nullptr);
    EXPECT_EQ(find_device(""), nullptr);
    EXPECT_EQ(find_device("zzz"), nullptr);
}

TEST(DeviceCatalogue, HoldsThePlatformEveryGuestNeeds) {
    for (const std::string_view name : {"hostbridge", "amd_hostbridge", "lpc"}) {
        const DeviceInfo* device = find_device(name);
        ASSERT_NE(device, nullptr) << name;
        EXPECT_EQ(device->status, DeviceStatus::exists) << name;
    }
}

}  // namespace
}  // namespace cupule::machine
