#include "machine/hypervisor_endpoints.h"

#include <gtest/gtest.h>

#include <memory>

#include "hypervisor/fake/fake_vm.h"

namespace cupule::machine {
namespace {

class NotingVm : public hypervisor::FakeVm, public hypervisor::DeviceAssigner {
  public:
    NotingVm() : FakeVm({.name = "notes"}) {}
    hypervisor::DeviceAssigner* device_assigner() override { return assigns ? this : nullptr; }
    base::Result<void> assign(const hypervisor::AssignedFunction&) override { return {}; }
    void deassign(const hypervisor::AssignedFunction&) override {}
    base::Result<void> connect_intx(const hypervisor::AssignedIntx&) override { return {}; }
    void disconnect_intx(const hypervisor::AssignedIntx&) override {}
    base::Result<void> assign_memory(const hypervisor::AssignedMemory&) override { return {}; }
    void deassign_memory(const hypervisor::AssignedMemory&) override {}
    base::Result<void> create(const hypervisor::HypervisorFunction& function) override {
        if (refuses) {
            return base::fail_errno(EINVAL, "no such name");
        }
        made = function;
        ++there;
        return {};
    }
    void destroy(const hypervisor::HypervisorFunction&) override { --there; }

    bool assigns = true;
    bool refuses = false;
    int there = 0;
    hypervisor::HypervisorFunction made{};
};

class HypervisorEndpointsTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto loop = event::EventLoop::create();
        auto memory = memory::GuestMemory::create({.pieces = {{.base = {0}, .size = 1 << 20}}});
        ASSERT_TRUE(loop && memory);
        loop_ = std::move(*loop);
        memory_ = std::move(*memory);
    }
    base::Result<std::unique_ptr<Endpoint>> make(EndpointFactory factory,
                                                 const std::string& options) {
        return factory({.slot = 6, .device = "it", .options = options}, {.memory = *memory_,
                                                                         .loop = *loop_,
                                                                         .vm = vm_,
                                                                         .monitor = monitor_,
                                                                         .options = options_,
                                                                         .stdio = stdio_});
    }

    std::unique_ptr<event::EventLoop> loop_;
    std::unique_ptr<memory::GuestMemory> memory_;
    NotingVm vm_;
    event::Monitor monitor_;
    VmOptions options_;
    backend::StdioOwner stdio_{[] {}};
};

TEST_F(HypervisorEndpointsTest, SharedMemoryIsAskedForByNameSizeAndPlace) {
    {
        const auto endpoint = make(make_ivshmem, "hv:/shm,4,7");
        ASSERT_TRUE(endpoint) << endpoint.error().message;
        {
            event::MutexLock lock(monitor_);
            (*endpoint)->function().assign_bar(0, 0x8000'0000);
            (*endpoint)->function().assign_bar(2, 0x40'0040'0000);
        }
        ASSERT_TRUE((*endpoint)->placed());
        const auto* const made = std::get_if<hypervisor::HypervisorSharedMemory>(&vm_.made);
        ASSERT_NE(made, nullptr);
        EXPECT_EQ(made->name, "hv:/shm");
        EXPECT_EQ(made->size, 4U << 20);
        EXPECT_EQ(made->guest, (io::PciAddress{.device = 6}));
        EXPECT_EQ(made->bars[0], 0x8000'0000U);
        EXPECT_EQ(made->bars[2], 0x0040'000CU) << "64-bit, prefetchable";
        EXPECT_EQ(made->bars[3], 0x40U);
        (*endpoint)->leaving();
        EXPECT_EQ(vm_.there, 0);
        ASSERT_TRUE((*endpoint)->placed());
        EXPECT_EQ(vm_.there, 1);
    }
    EXPECT_EQ(vm_.there, 0) << "it goes with the machine";
}

TEST_F(HypervisorEndpointsTest, ASerialPortIsAskedForByItsNumber) {
    const auto endpoint = make(make_pci_uart, "vuart_idx:3");
    ASSERT_TRUE(endpoint);
    vm_.refuses = true;
    EXPECT_FALSE((*endpoint)->placed());
    vm_.refuses = false;
    ASSERT_TRUE((*endpoint)->placed());
    const auto* const made = std::get_if<hypervisor::HypervisorSerial>(&vm_.made);
    ASSERT_NE(made, nullptr);
    EXPECT_EQ(made->index, 3U);
}

TEST_F(HypervisorEndpointsTest, WrongOptionsAndHypervisorsAreSaid) {
    for (const char* options : {"", "dm:/shm,4", "hv:/shm", "hv:/shm,3", "hv:/shm,1024",
                                "hv:/shm,4,x", "hv:/a-name-of-more-than-31-characters,4"}) {
        const auto endpoint = make(make_ivshmem, options);
        ASSERT_FALSE(endpoint) << options;
        EXPECT_NE(endpoint.error().message.find("hv:/NAME,SIZE_MB"), std::string::npos);
    }
    EXPECT_FALSE(make(make_pci_uart, "vuart_idx:"));
    EXPECT_FALSE(make(make_pci_uart, "/dev/pts/1"));
    vm_.assigns = false;
    const auto endpoint = make(make_ivshmem, "hv:/shm,4");
    ASSERT_FALSE(endpoint);
    EXPECT_NE(endpoint.error().message.find("--hypervisor acrn"), std::string::npos);
}

}  // namespace
}  // namespace cupule::machine
