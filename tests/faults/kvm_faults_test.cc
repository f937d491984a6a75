#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <unistd.h>

#include <string>

#include "hypervisor/kvm/kvm_device.h"
#include "testing/host_faults.h"

namespace cupule::hypervisor {
namespace {

/// A KVM that has everything but one capability.
int kvm_without(unsigned long missing, unsigned long request, void* argument) {
    if (request == KVM_GET_API_VERSION) {
        return KVM_API_VERSION;
    }
    if (request == KVM_GET_VCPU_MMAP_SIZE) {
        return 4096;
    }
    return reinterpret_cast<std::uintptr_t>(argument) == missing ? 0 : 1;
}

TEST(KvmFaultsTest, Class22_AKernelThatIsTooOldIsNamedAtTheStart) {
    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "no /dev/kvm";
    }
    unsigned needed = 0;
    for (unsigned capability = 0; capability < 256; ++capability) {
        testing::answer_ioctls([&](unsigned long request, void* argument) {
            return kvm_without(capability, request, argument);
        });
        const auto opened = KvmDevice::open();
        if (!opened) {
            ++needed;
            EXPECT_NE(opened.error().message.find("lacks"), std::string::npos);
            EXPECT_NE(opened.error().message.find(std::to_string(capability)), std::string::npos);
        }
    }
    testing::answer_ioctls([](unsigned long, void*) { return 11; });
    EXPECT_FALSE(KvmDevice::open()) << "an API of another version";
    testing::answer_ioctls({});
    EXPECT_GE(needed, 8U);
}

}  // namespace
}  // namespace cupule::hypervisor
