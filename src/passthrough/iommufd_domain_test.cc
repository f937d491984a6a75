// VFIO's newer interface against a kernel that writes down what it is asked: Debian 12's kernels
// have none to test with.

#include "passthrough/iommufd_domain.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "passthrough/iommufd_uapi.h"

namespace cupule::passthrough {
namespace {

constexpr std::uint32_t space = 7;

class FakeKernel : public VfioKernel {
  public:
    base::Result<base::FileDescriptor> open(const std::string& path) override {
        if (refused.contains("open")) {
            return base::fail_errno(refused["open"], "cannot open '{}'", path);
        }
        calls.push_back("open " + path);
        auto fd = base::make_eventfd();
        names[fd->get()] = path;
        return fd;
    }
    int ioctl(int fd, unsigned long request, void* argument) override {
        const std::string call = text(request, argument);
        const std::string name = call.substr(0, call.find(' '));
        calls.push_back(names[fd] + ": " + call);
        if (refused.contains(name)) {
            errno = refused[name];
            return -1;
        }
        return 0;
    }

    std::map<std::string, int> refused;
    std::vector<std::string> calls;
    std::map<int, std::string> names;

  private:
    template <class T>
    static T copy(const void* argument) {
        T value;
        std::memcpy(&value, argument, sizeof value);
        EXPECT_EQ(*static_cast<const std::uint32_t*>(argument), sizeof value);
        return value;
    }
    std::string text(unsigned long request, void* argument) {
        switch (request) {
            case uapi::ioas_alloc:
                static_cast<uapi::IoasAlloc*>(argument)->out_id = space;
                return "alloc";
            case uapi::ioas_map: {
                const auto map = copy<uapi::IoasMap>(argument);
                return fmt::format("map space {} flags {} at {:#x} size {:#x} from {:#x}",
                                   map.space, map.flags, map.io_address, map.length,
                                   map.user_address);
            }
            case uapi::ioas_unmap: {
                const auto unmap = copy<uapi::IoasUnmap>(argument);
                return fmt::format("unmap space {} at {:#x} size {:#x}", unmap.space,
                                   unmap.io_address, unmap.length);
            }
            case uapi::device_bind:
                return "bind to " + names[copy<uapi::DeviceBind>(argument).iommufd];
            case uapi::device_attach:
                return fmt::format("attach {}", copy<uapi::DeviceAttach>(argument).space);
            default:
                return "unknown";
        }
    }
};

class IommufdDomainTest : public ::testing::Test, public VfioDomain::Listener {
  protected:
    void SetUp() override {
        auto made = IommufdDomain::create(kernel_, *this);
        ASSERT_TRUE(made) << made.error().message;
        domain_ = std::move(*made);
    }
    void descriptor_added(int fd) override {
        kernel_.calls.push_back("KVM + " + kernel_.names[fd]);
    }
    void descriptor_removed(int fd) override {
        kernel_.calls.push_back("KVM - " + kernel_.names[fd]);
    }
    std::vector<std::string> take() { return std::exchange(kernel_.calls, {}); }
    std::string refusal(const std::string& call, int code) {
        kernel_.refused[call] = code;
        const auto done = domain_->admit(nic_);
        kernel_.refused.clear();
        return done ? std::string() : done.error().message;
    }

    VfioPlace nic_{.name = "0000:00:02.0", .group = 1, .character_device = "/dev/nic"};
    FakeKernel kernel_;
    std::unique_ptr<IommufdDomain> domain_;
};

TEST_F(IommufdDomainTest, ADeviceIsMadeKnownToKvmThenBoundThenAttached) {
    EXPECT_EQ(take(), (std::vector<std::string>{"open /dev/iommu", "/dev/iommu: alloc"}));
    ASSERT_TRUE(domain_->admit(nic_));
    EXPECT_EQ(take(),
              (std::vector<std::string>{"open /dev/nic", "KVM + /dev/nic",
                                        "/dev/nic: bind to /dev/iommu", "/dev/nic: attach 7"}));
    ASSERT_TRUE(domain_->admit(nic_));
    EXPECT_TRUE(take().empty()) << "once";
}

TEST_F(IommufdDomainTest, MemoryIsMappedAtGuestAddressesForReadingAndWriting) {
    take();
    auto* const host = reinterpret_cast<std::byte*>(std::uintptr_t{0x5000});
    ASSERT_TRUE(domain_->map({0x1000}, 0x20'0000, host));
    ASSERT_TRUE(domain_->unmap({0x1000}, 0x20'0000));
    EXPECT_EQ(take(), (std::vector<std::string>{
                          "/dev/iommu: map space 7 flags 7 at 0x1000 size 0x200000 from 0x5000",
                          "/dev/iommu: unmap space 7 at 0x1000 size 0x200000"}));
}

TEST_F(IommufdDomainTest, ALostDeviceIsLetGoByKvmToo) {
    ASSERT_TRUE(domain_->admit(nic_));
    ASSERT_TRUE(domain_->open_device(nic_));
    take();
    domain_->closing(nic_.name);
    EXPECT_EQ(take(), std::vector<std::string>{"KVM - /dev/nic"});
    domain_->closing(nic_.name);
    EXPECT_TRUE(take().empty());
    EXPECT_FALSE(domain_->open_device(nic_));
}

TEST_F(IommufdDomainTest, WhatIsStillInAtTheEndIsLetGo) {
    ASSERT_TRUE(domain_->admit(nic_));
    take();
    domain_.reset();
    EXPECT_EQ(take(), std::vector<std::string>{"KVM - /dev/nic"});
}

TEST_F(IommufdDomainTest, RefusalsSayWhatToDoAndLeaveNothing) {
    EXPECT_NE(refusal("open", EBUSY).find("another process has 0000:00:02.0"), std::string::npos);
    EXPECT_NE(refusal("bind", EBUSY).find("`cupule passthrough list`"), std::string::npos);
    EXPECT_NE(refusal("attach", EPERM).find("iommufd.allow_unsafe_interrupts=1"),
              std::string::npos);
    EXPECT_NE(refusal("bind", EPERM).find("use devices of its IOMMU group"), std::string::npos);
    nic_.interrupts_remapped = false;
    EXPECT_NE(refusal("bind", EPERM).find("iommufd.allow_unsafe_interrupts=1"), std::string::npos);
    EXPECT_EQ(take().back(), "KVM - /dev/nic");
    EXPECT_FALSE(domain_->open_device(nic_));
    kernel_.refused["map"] = ENOMEM;
    EXPECT_NE(domain_->map({0}, 0x1000, nullptr).error().message.find("ulimit -l"),
              std::string::npos);
}

TEST(IommufdDomain, WithoutTheKernelsPartThereIsNone) {
    FakeKernel kernel;
    kernel.refused["open"] = ENOENT;
    class Nobody : public VfioDomain::Listener {
        void descriptor_added(int) override {}
        void descriptor_removed(int) override {}
    } nobody;
    EXPECT_FALSE(IommufdDomain::create(kernel, nobody));
}

}  // namespace
}  // namespace cupule::passthrough
