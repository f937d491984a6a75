// Device calls of the service, with devices in software: a client assigns them, the test is the
// guest.

#include "hsm/vm_devices.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include "hsm/testing/session_bench.h"
#include "hsm/testing/software_host.h"
#include "passthrough/software_models.h"
#include "pci/config_registers.h"

namespace cupule::hsm {
namespace {

using hypervisor::acrn::RootPortArguments;
using passthrough::SoftwareRegisters;
using testing::OneModel;
using testing::SessionBench;

constexpr std::uint16_t host_bdf = 0x0310;     // 03:02.0
constexpr std::uint16_t virtual_bdf = 0x0028;  // 00:05.0
constexpr std::uint32_t bar_address = 0x8000'0000;

class VmDevicesTest : public ::testing::Test {
  protected:
    void create(passthrough::SoftwareModel model) {
        auto loop = event::EventLoop::create();
        ASSERT_TRUE(loop);
        loop_ = std::move(*loop);
        bench_.parts().devices = {
            .make_host_devices =
                [this, model](hypervisor::Vm&) { return std::make_unique<OneModel>(model, host_); },
            .map_host_memory = {},
            .loop = loop_.get()};
        ASSERT_EQ(bench_.create(), 0);
    }
    void TearDown() override { bench_.close(); }

    static acrn_pcidev assignment() {
        acrn_pcidev device{};
        device.virt_bdf = virtual_bdf;
        device.phys_bdf = host_bdf;
        device.intr_line = 11;
        device.intr_pin = 1;
        device.bar[0] = bar_address;
        return device;
    }
    int assign(acrn_pcidev device = assignment()) {
        return bench_.call_with(ACRN_IOCTL_ASSIGN_PCIDEV, device);
    }
    void start() {
        ASSERT_EQ(bench_.call(ACRN_IOCTL_CREATE_IOREQ_CLIENT), 0);
        ASSERT_EQ(bench_.call(ACRN_IOCTL_START_VM), 0);
    }
    int deassign(acrn_pcidev device = assignment()) {
        return bench_.call_with(ACRN_IOCTL_DEASSIGN_PCIDEV, device);
    }
    static acrn_ptdev_irq interrupt() {
        acrn_ptdev_irq irq{};
        irq.type = ACRN_PTDEV_IRQ_INTX;
        irq.virt_bdf = virtual_bdf;
        irq.phys_bdf = host_bdf;
        irq.intx.virt_pin = 20;
        irq.intx.phys_pin = 17;
        return irq;
    }
    int set_intx(acrn_ptdev_irq irq) { return bench_.call_with(ACRN_IOCTL_SET_PTDEV_INTR, irq); }
    int reset_intx(acrn_ptdev_irq irq) {
        return bench_.call_with(ACRN_IOCTL_RESET_PTDEV_INTR, irq);
    }

    // The guest.

    static constexpr std::uint64_t config_address(std::uint16_t bdf, std::uint16_t offset) {
        return 0xE000'0000 + (std::uint64_t{bdf} << 12) + offset;
    }
    std::uint64_t config(std::uint16_t offset, std::uint8_t size, std::uint16_t bdf = virtual_bdf) {
        return bench_.vm().read_memory(config_address(bdf, offset), size);
    }
    void write_config(std::uint16_t offset, std::uint8_t size, std::uint64_t value,
                      std::uint16_t bdf = virtual_bdf) {
        bench_.vm().write_memory(config_address(bdf, offset), size, value);
    }

    OneModel::Log host_;
    std::unique_ptr<event::EventLoop> loop_;
    SessionBench bench_;
};

TEST_F(VmDevicesTest, AnAssignedFunctionAnswersTheGuestWithoutTheClient) {
    create(passthrough::make_i225_model(1, 4));
    ASSERT_EQ(assign(), 0);
    start();
    const auto attached = bench_.attach();
    EXPECT_EQ(config(pci::config::vendor_id, 2), 0x8086U);
    EXPECT_EQ(config(pci::config::bar0, 4), bar_address);
    EXPECT_EQ(config(pci::config::interrupt_line, 1), 11U);
    EXPECT_EQ(bench_.vm().mappings().size(), 0U) << "does not decode yet";
    write_config(pci::config::command, 2, 0x6);
    EXPECT_EQ(bench_.vm().read_memory(bar_address + SoftwareRegisters::identity, 4),
              SoftwareRegisters::identity_value);
    ASSERT_EQ(bench_.vm().mappings().size(), 1U);
    EXPECT_EQ(bench_.vm().mappings()[0].first, bar_address + 0x1000U);
    // By the ports, too.
    bench_.vm().write_port(0xCF8, 4, 0x8000'0000 | virtual_bdf << 8);
    EXPECT_EQ(bench_.vm().read_port(0xCFC, 2), 0x8086U);
    EXPECT_FALSE(attached->has_value()) << "no request has reached the client";
}

TEST_F(VmDevicesTest, MessagesOfAnAssignedFunctionReachTheGuestByEventfd) {
    create(passthrough::make_i225_model(1, 4));
    ASSERT_EQ(assign(), 0);
    start();
    write_config(pci::config::command, 2, 0x6);
    const std::uint64_t entry = bar_address + 0x2000;  // MSI-X table
    bench_.vm().write_memory(entry, 4, 0xFEE0'0000);
    bench_.vm().write_memory(entry + 4, 4, 0);
    bench_.vm().write_memory(entry + 8, 4, 0x4031);
    bench_.vm().write_memory(entry + 12, 4, 0);
    write_config(0x72, 2, 0x8000);
    host_.device->interrupt(0);
    EXPECT_EQ(bench_.vm().deliver_event_interrupts(), 1U);
    const auto messages = bench_.vm().take_messages();
    ASSERT_EQ(messages.size(), 1U);
    EXPECT_EQ(messages[0].data, 0x4031U);
}

TEST_F(VmDevicesTest, IntxGoesToTheInputThatTheClientNames) {
    create(*passthrough::find_software_model("conventional"));
    ASSERT_EQ(assign(), 0);
    ASSERT_EQ(set_intx(interrupt()), 0);
    start();
    EXPECT_EQ(config(pci::config::interrupt_pin, 1), 1U);
    host_.device->interrupt(0);
    bench_.vm().deliver_event_interrupts();
    EXPECT_TRUE(bench_.vm().gsi_level({20}));
    ASSERT_EQ(bench_.call(ACRN_IOCTL_PAUSE_VM), 0);
    EXPECT_EQ(reset_intx(interrupt()), 0);
}

TEST_F(VmDevicesTest, IntxIsRefusedWhereItIsNotTheDevicesOrNoInput) {
    create(*passthrough::find_software_model("conventional"));
    EXPECT_EQ(set_intx(interrupt()), -EPERM) << "nothing is assigned";
    ASSERT_EQ(assign(), 0);
    for (const auto& spoil : std::initializer_list<void (*)(acrn_ptdev_irq&)>{
             [](acrn_ptdev_irq& irq) { irq.type = ACRN_PTDEV_IRQ_MSI; },
             [](acrn_ptdev_irq& irq) { irq.virt_bdf = 1; },
             [](acrn_ptdev_irq& irq) { irq.phys_bdf = 1; },
             [](acrn_ptdev_irq& irq) { irq.intx.virt_pin = 48; },
             [](acrn_ptdev_irq& irq) {
                 irq.intx.virt_pin = 16;
                 irq.intx.is_pic_pin = 1;
             },
             [](acrn_ptdev_irq& irq) { irq.intx.phys_pin = 256; }}) {
        acrn_ptdev_irq irq = interrupt();
        spoil(irq);
        EXPECT_EQ(set_intx(irq), -EPERM);
    }
    ASSERT_EQ(bench_.call(ACRN_IOCTL_START_VM), 0);
    EXPECT_EQ(set_intx(interrupt()), -EPERM) << "it runs";
    EXPECT_EQ(reset_intx(interrupt()), -EPERM) << "it runs";
}

TEST_F(VmDevicesTest, DevicesChangeHandsOnlyInTheRightState) {
    create(passthrough::make_i225_model(1, 4));
    acrn_pcidev nobody = assignment();
    nobody.phys_bdf = 0;
    EXPECT_EQ(assign(nobody), -ENODEV);
    EXPECT_EQ(deassign(), -ENODEV);
    ASSERT_EQ(assign(), 0);
    EXPECT_EQ(assign(), -EINVAL) << "the place is taken";
    acrn_pcidev again = assignment();
    again.virt_bdf = 0x30;
    EXPECT_EQ(assign(again), -EBUSY) << "the device is taken";
    EXPECT_EQ(deassign(again), -ENODEV);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_START_VM), 0);
    EXPECT_EQ(assign(again), -EINVAL);
    EXPECT_EQ(deassign(), -EINVAL);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_PAUSE_VM), 0);
    EXPECT_EQ(assign(again), -EINVAL);
    const unsigned before = host_.given_back;
    EXPECT_EQ(deassign(), 0);
    EXPECT_EQ(host_.given_back, before + 1);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_RESET_VM), 0);
    EXPECT_EQ(assign(), 0) << "it can come back";
    bench_.close();
    EXPECT_EQ(host_.given_back, before + 2) << "the VM's end gives it back";
}

TEST_F(VmDevicesTest, DevicesReachAllRamThatTheVmHas) {
    create(passthrough::make_i225_model(1, 4));
    acrn_vm_memmap segment{};
    segment.type = ACRN_MEMMAP_RAM;
    segment.attr = ACRN_MEM_ACCESS_RWX | ACRN_MEM_TYPE_WB;
    segment.vma_base = bench_.page_address() + 4096;
    segment.len = 4096;
    ASSERT_EQ(bench_.call_with(ACRN_IOCTL_SET_MEMSEG, segment), 0);
    ASSERT_EQ(assign(), 0);
    segment.user_vm_pa = 0x10000;
    ASSERT_EQ(bench_.call_with(ACRN_IOCTL_SET_MEMSEG, segment), 0);
    ASSERT_EQ(host_.ram.size(), 2U);
    EXPECT_EQ(host_.ram[0].base.value, 0U);
    EXPECT_EQ(host_.ram[1].base.value, 0x10000U);
    EXPECT_EQ(host_.ram[1].size, 4096U);
}

TEST_F(VmDevicesTest, AResetBringsTheRegistersTheClientGave) {
    create(passthrough::make_i225_model(1, 4));
    ASSERT_EQ(assign(), 0);
    start();
    write_config(pci::config::bar0, 4, 0x9000'0000);
    write_config(pci::config::interrupt_line, 1, 5);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_PAUSE_VM), 0);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_RESET_VM), 0);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_START_VM), 0);
    EXPECT_EQ(config(pci::config::bar0, 4), bar_address);
    EXPECT_EQ(config(pci::config::interrupt_line, 1), 11U);
    EXPECT_EQ(config(pci::config::command, 2), 0U);
}

TEST_F(VmDevicesTest, WithoutDevicesOfTheHostThereIsNoneToAssign) {
    ASSERT_EQ(bench_.create(), 0);
    EXPECT_EQ(assign(), -ENODEV);
    acrn_mmiodev memory{};
    memory.res[0] = {.user_vm_pa = 0x1000, .service_vm_pa = 0x1000, .size = 0x1000, .mem_type = 0};
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_ASSIGN_MMIODEV, memory), -EINVAL);
}

// Functions of the hypervisor.

acrn_vdev root_port() {
    acrn_vdev device{};
    device.id.fields.vendor = 0x8086;
    device.id.fields.device = 0x9D14;
    device.slot = virtual_bdf;
    const RootPortArguments arguments{.host_bdf = 0x10,
                                      .max_payload = 1,
                                      .secondary_bus = 1,
                                      .subordinate_bus = 1,
                                      .ptm_capable = 1,
                                      .ptm_offset = 0x150};
    std::memcpy(device.args, &arguments, sizeof arguments);
    return device;
}

TEST_F(VmDevicesTest, ARootPortIsTheHypervisorsWithTimeMeasurementOn) {
    create(passthrough::make_i225_model(1, 4));
    acrn_vdev port = root_port();
    ASSERT_EQ(bench_.call_with(ACRN_IOCTL_CREATE_VDEV, port), 0);
    acrn_pcidev behind = assignment();
    behind.virt_bdf = 0x100;  // 01:00.0
    ASSERT_EQ(assign(behind), 0);
    start();
    EXPECT_EQ(config(pci::config::vendor_id, 4), 0x9D14'8086U);
    EXPECT_EQ(config(pci::config::header_type, 1) & 0x7F, 1U);
    EXPECT_EQ(config(pci::config::secondary_bus, 1), 1U);
    EXPECT_EQ(config(0x100, 4) & 0xFFFF, 0x1FU) << "precision time measurement";
    EXPECT_EQ(config(0x104, 4), 0x406U);
    EXPECT_EQ(config(0x108, 4), 0x3U);
    EXPECT_EQ(config(pci::config::vendor_id, 2, 0x100), 0x8086U);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_PAUSE_VM), 0);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_RESET_VM), 0);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_START_VM), 0);
    EXPECT_EQ(config(pci::config::secondary_bus, 1), 1U);
}

TEST_F(VmDevicesTest, VirtualFunctionsAreRefusedWhereTheyCannotBe) {
    create(passthrough::make_i225_model(1, 4));
    acrn_vdev port = root_port();
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_DESTROY_VDEV, port), -EINVAL) << "none is there";
    acrn_vdev unknown = root_port();
    unknown.id.fields.device = 0x9D15;
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_CREATE_VDEV, unknown), -EINVAL);
    acrn_vdev nowhere = root_port();
    nowhere.slot = 0x10000;
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_CREATE_VDEV, nowhere), -EINVAL);
    acrn_vdev busless = root_port();
    std::memset(busless.args, 0, sizeof busless.args);
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_CREATE_VDEV, busless), -EINVAL);
    ASSERT_EQ(bench_.call_with(ACRN_IOCTL_CREATE_VDEV, port), 0);
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_CREATE_VDEV, port), -EINVAL) << "the place is taken";
    EXPECT_EQ(assign(), -EINVAL) << "the place is taken";
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_DESTROY_VDEV, unknown), -EINVAL);
    ASSERT_EQ(bench_.call(ACRN_IOCTL_START_VM), 0);
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_DESTROY_VDEV, port), -EINVAL) << "it runs";
    ASSERT_EQ(bench_.call(ACRN_IOCTL_PAUSE_VM), 0);
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_DESTROY_VDEV, port), 0);
}

// Memory between VMs.

class SharedMemoryTest : public VmDevicesTest {
  protected:
    static constexpr std::uint32_t memory_size = 2 << 20;
    static constexpr std::uint64_t memory_address = 0x40'0000'0000;
    static constexpr std::uint32_t interrupts = bar_address + 0x1000;

    void SetUp() override {
        auto loop = event::EventLoop::create();
        ASSERT_TRUE(loop);
        loop_ = std::move(*loop);
        auto memory = SharedMemory::create(memory_size, *loop_);
        ASSERT_TRUE(memory);
        memories_.emplace("hv:/shm", std::move(*memory));
        for (SessionBench* bench : {&bench_, &other_}) {
            bench->parts().devices = {.make_host_devices = {},
                                      .map_host_memory = {},
                                      .loop = loop_.get(),
                                      .shared_memories = &memories_};
        }
        // The second VM of one service: another number.
        reserved_ = other_.parts().registry.claim("somebody");
        ASSERT_EQ(bench_.create(), 0);
        ASSERT_EQ(other_.create(), 0);
    }
    void TearDown() override {
        other_.close();
        bench_.close();
    }
    static acrn_vdev device(const char* name = "hv:/shm") {
        acrn_vdev vdev{};
        vdev.id.fields.vendor = 0x1AF4;
        vdev.id.fields.device = 0x1110;
        vdev.slot = virtual_bdf;
        vdev.io_addr[0] = bar_address;
        vdev.io_addr[1] = interrupts;
        vdev.io_addr[2] = static_cast<std::uint32_t>(memory_address) | 0xC;
        vdev.io_addr[3] = memory_address >> 32;
        vdev.io_size[2] = memory_size;
        std::strncpy(reinterpret_cast<char*>(vdev.args), name, 32);
        return vdev;
    }
    static int create(SessionBench& bench, acrn_vdev vdev = device()) {
        return bench.call_with(ACRN_IOCTL_CREATE_VDEV, vdev);
    }
    /// As a driver does: the BARs and the bus on, vector 3 programmed.
    static void start(SessionBench& bench) {
        ASSERT_EQ(bench.call(ACRN_IOCTL_CREATE_IOREQ_CLIENT), 0);
        ASSERT_EQ(bench.call(ACRN_IOCTL_START_VM), 0);
        bench.vm().write_memory(config_address(virtual_bdf, pci::config::command), 2, 0x6);
        const std::uint64_t entry = interrupts + 16 * 3;
        bench.vm().write_memory(entry, 4, 0xFEE0'0000);
        bench.vm().write_memory(entry + 8, 4, 0x55);
        bench.vm().write_memory(entry + 12, 4, 0);
        const std::uint64_t at =
            bench.vm().read_memory(config_address(virtual_bdf, pci::config::capabilities), 1);
        bench.vm().write_memory(config_address(virtual_bdf, static_cast<std::uint16_t>(at + 2)), 2,
                                0x8000);
    }

    SharedMemories memories_;
    SessionBench other_;
    std::unique_ptr<VmRegistry::Claim> reserved_;
};

TEST_F(SharedMemoryTest, TwoVmsSeeTheSameBytesAndRingEachOther) {
    ASSERT_EQ(create(bench_), 0);
    ASSERT_EQ(create(other_), 0);
    start(bench_);
    start(other_);
    EXPECT_EQ(config(pci::config::vendor_id, 4), 0x1110'1AF4U);
    const auto here = bench_.vm().memory(memory_address, memory_size);
    const auto there = other_.vm().memory(memory_address, memory_size);
    ASSERT_FALSE(here.empty() || there.empty());
    here[memory_size - 1] = std::byte{0x5A};
    EXPECT_EQ(there[memory_size - 1], std::byte{0x5A});
    const std::uint64_t peer = other_.vm().read_memory(bar_address + 8, 4);
    EXPECT_EQ(bench_.vm().read_memory(bar_address + 8, 4), 1U);
    EXPECT_EQ(peer, 2U);
    bench_.vm().write_memory(bar_address + 0xC, 4, peer << 16 | 3);
    bench_.vm().write_memory(bar_address + 0xC, 4, peer << 16 | 8);  // no such vector
    bench_.vm().write_memory(bar_address + 0xC, 4, 9 << 16);         // no such peer
    loop_->run_once(0);
    const auto messages = other_.vm().take_messages();
    ASSERT_EQ(messages.size(), 1U);
    EXPECT_EQ(messages[0].data, 0x55U);
    EXPECT_TRUE(bench_.vm().take_messages().empty());
    other_.close();
    bench_.vm().write_memory(bar_address + 0xC, 4, peer << 16 | 3);
    loop_->run_once(0);
}

TEST_F(SharedMemoryTest, ARegionIsKnownByNameAndSize) {
    EXPECT_EQ(create(bench_, device("hv:/other")), -EINVAL);
    acrn_vdev small = device();
    small.io_size[2] = memory_size / 2;
    EXPECT_EQ(create(bench_, small), -EINVAL);
    ASSERT_EQ(create(bench_), 0);
    acrn_vdev twice = device();
    twice.slot = 0x30;
    EXPECT_EQ(create(bench_, twice), -EINVAL) << "one VM has it once";
    acrn_vdev vdev = device();
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_DESTROY_VDEV, vdev), 0);
    EXPECT_EQ(create(bench_), 0);
    EXPECT_FALSE(SharedMemory::create(3 << 20, *loop_));
    EXPECT_FALSE(SharedMemory::create(1 << 30, *loop_));
}

// Memory of the host.

class HostMemoryTest : public VmDevicesTest {
  protected:
    void SetUp() override {
        file_ = base::FileDescriptor(memfd_create("physical", MFD_CLOEXEC));
        ASSERT_TRUE(file_ && ftruncate(file_.get(), 0x10000) == 0);
        bench_.parts().devices.map_host_memory =
            [this](std::uint64_t base,
                   std::uint64_t size) -> base::Result<passthrough::HostMapping> {
            if (base >= 0x10000) {
                return base::fail("it is the host's RAM");
            }
            return passthrough::HostMapping::map(base, size,
                                                 fmt::format("/proc/self/fd/{}", file_.get()));
        };
        ASSERT_EQ(bench_.create(), 0);
    }
    static acrn_mmiodev device() {
        acrn_mmiodev memory{};
        memory.res[0] = {
            .user_vm_pa = 0xF000'0000, .service_vm_pa = 0x2000, .size = 0x2000, .mem_type = 0};
        memory.res[1] = {
            .user_vm_pa = 0xF001'0000, .service_vm_pa = 0x5000, .size = 0x1000, .mem_type = 0};
        return memory;
    }
    int assign_memory(acrn_mmiodev memory) {
        return bench_.call_with(ACRN_IOCTL_ASSIGN_MMIODEV, memory);
    }
    base::FileDescriptor file_;
};

TEST_F(HostMemoryTest, ADeviceByItsMemoryIsMappedAndUnmapped) {
    ASSERT_EQ(assign_memory(device()), 0);
    ASSERT_EQ(bench_.vm().mappings().size(), 2U);
    EXPECT_EQ(bench_.vm().mappings()[0],
              std::pair(std::uint64_t{0xF000'0000}, std::uint64_t{0x2000}));
    acrn_mmiodev memory = device();
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_DEASSIGN_MMIODEV, memory), 0);
    EXPECT_TRUE(bench_.vm().mappings().empty());
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_DEASSIGN_MMIODEV, memory), -EINVAL);
}

TEST_F(HostMemoryTest, ARefusalLeavesNothingMapped) {
    acrn_mmiodev memory = device();
    memory.res[1].service_vm_pa = 0x10000;
    EXPECT_EQ(assign_memory(memory), -EINVAL) << "the host's RAM";
    memory = device();
    memory.res[1].size = 0x800;
    EXPECT_EQ(assign_memory(memory), -EINVAL) << "not pages";
    memory = device();
    memory.res[1].user_vm_pa = memory.res[0].user_vm_pa;
    EXPECT_EQ(assign_memory(memory), -EINVAL) << "on one another";
    memory.res[1].user_vm_pa = ~std::uint64_t{0xFFF};
    EXPECT_EQ(assign_memory(memory), -EINVAL) << "no address";
    EXPECT_TRUE(bench_.vm().mappings().empty());
    ASSERT_EQ(bench_.call(ACRN_IOCTL_START_VM), 0);
    EXPECT_EQ(assign_memory(device()), -EINVAL) << "it runs";
}

TEST_F(HostMemoryTest, SegmentsOfTheKindMmioMapHostMemoryToo) {
    acrn_vm_memmap segment{};
    segment.type = ACRN_MEMMAP_MMIO;
    segment.attr = ACRN_MEM_ACCESS_RWX | ACRN_MEM_TYPE_UC;
    segment.user_vm_pa = 0xF000'0000;
    segment.service_vm_pa = 0x2000;
    segment.len = 0x1000;
    ASSERT_EQ(bench_.call_with(ACRN_IOCTL_SET_MEMSEG, segment), 0);
    EXPECT_EQ(bench_.vm().mappings().size(), 1U);
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_UNSET_MEMSEG, segment), 0);
    EXPECT_TRUE(bench_.vm().mappings().empty());
    EXPECT_EQ(bench_.call_with(ACRN_IOCTL_UNSET_MEMSEG, segment), -EINVAL);
}

}  // namespace
}  // namespace cupule::hsm
