#include "app/probe/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/probe/kvm_guest.h"

namespace cupule::app {
namespace {

using testing::HasSubstr;

/// A directory that stands for a host's root.
class ProbeTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = std::filesystem::temp_directory_path() / "cupule_probe_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        host_ = {.root = name, .try_kvm = [this](const std::string&) { return kvm_result_; }};
    }
    void TearDown() override { std::filesystem::remove_all(host_.root); }

    void put(const std::string& path, const std::string& text) {
        const std::filesystem::path file = host_.root + path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text;
    }

    Capability find(const std::string& name) {
        const std::vector<Capability> all = probe(host_);
        const auto found = std::ranges::find(all, name, &Capability::name);
        return found != all.end() ? *found : Capability{};
    }

    ProbeHost host_;
    base::Result<void> kvm_result_;
};

TEST_F(ProbeTest, AnEmptyHostHasNothingAndEveryNoHasReasonAndMend) {
    for (const Capability& capability : probe(host_)) {
        EXPECT_FALSE(capability.available) << capability.name;
        EXPECT_FALSE(capability.reason.empty()) << capability.name;
        EXPECT_FALSE(capability.mend.empty()) << capability.name;
    }
}

TEST_F(ProbeTest, KvmIsUsableOnlyWithTheProcessorsFlagAndAGuestThatRan) {
    EXPECT_FALSE(find("kvm-usable").available);
    put("/dev/kvm", "");
    EXPECT_TRUE(find("kvm").available);
    put("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu cx16\n");
    EXPECT_FALSE(find("kvm-usable").available);
    EXPECT_THAT(find("kvm-usable").reason, HasSubstr("neither vmx nor svm"));
    put("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu svm cx16\n");
    EXPECT_TRUE(find("kvm-usable").available);
    kvm_result_ = base::fail("internal error at int3");
    EXPECT_FALSE(find("kvm-usable").available);
    EXPECT_EQ(find("kvm-usable").reason, "internal error at int3");
}

TEST_F(ProbeTest, AcrnIsFoundByEitherNameOfItsDevice) {
    EXPECT_FALSE(find("acrn-hsm").available);
    put("/dev/acrn_vhm", "");
    EXPECT_TRUE(find("acrn-hsm").available);
}

TEST_F(ProbeTest, TheIommuIsThereWhenItHasGroups) {
    put("/sys/class/iommu/dmar0/intel-iommu/ecap", "f00f5e\n");
    EXPECT_FALSE(find("iommu").available);
    EXPECT_THAT(find("interrupt-remapping").reason, HasSubstr("the kernel does not use it"));
    put("/sys/kernel/iommu_groups/0/type", "DMA\n");
    EXPECT_EQ(find("iommu").reason, "1 groups behind dmar0");
    put("/proc/interrupts", "  24:  0  0  IR-PCI-MSI-0000:00:02.0  0-edge  eth0\n");
    EXPECT_TRUE(find("interrupt-remapping").available);
}

TEST_F(ProbeTest, CountsFreeHugePagesAndVfioGroups) {
    put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "512\n");
    EXPECT_EQ(find("huge-pages").reason, "free: 512 of 2 MB, 0 of 1 GB");
    put("/dev/vfio/vfio", "");
    put("/dev/vfio/7", "");
    EXPECT_THAT(find("vfio").reason, HasSubstr("1 group bound"));
}

TEST_F(ProbeTest, JsonNamesTheHypervisorAndEveryCapability) {
    put("/dev/kvm", "");
    put("/proc/cpuinfo", "flags\t\t: vmx\n");
    const auto document = nlohmann::json::parse(capabilities_json(probe(host_)), nullptr, false);
    ASSERT_FALSE(document.is_discarded());
    EXPECT_EQ(document["hypervisor"], "kvm");
    EXPECT_EQ(document["capabilities"].size(), probe(host_).size());
    EXPECT_EQ(document["capabilities"][0]["name"], "kvm");
    EXPECT_EQ(document["capabilities"][0]["available"], true);
}

TEST_F(ProbeTest, TheTextShowsTheMendUnderEachNo) {
    const std::string text = capabilities_text(
        {{.name = "tun", .available = false, .reason = "gone", .mend = "modprobe tun"},
         {.name = "kvm", .available = true, .reason = "opens", .mend = ""}});
    EXPECT_EQ(text,
              "tun                  no   gone\n"
              "                          mend: modprobe tun\n"
              "kvm                  yes  opens\n");
}

TEST(KvmGuest, AFileThatIsNoKvmIsAnErrorAndNoHang) {
    const auto result = try_kvm_guest("/dev/null", 5000);
    ASSERT_FALSE(result);
    EXPECT_THAT(result.error().message, HasSubstr("KVM_CREATE_VM"));
    EXPECT_FALSE(try_kvm_guest("/nonexistent", 5000));
}

TEST(KvmGuest, AGuestThatGivesNoAnswerIsEndedAfterTheTimeout) {
    const auto result = try_kvm_guest("/dev/null", 0);
    ASSERT_FALSE(result);
}

}  // namespace
}  // namespace cupule::app
