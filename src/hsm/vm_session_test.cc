#include "hsm/vm_session.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <thread>

#include "hsm/testing/session_bench.h"

namespace cupule::hsm {
namespace {

using hypervisor::acrn::LineOperation;
using testing::LocalProcess;
using testing::SessionBench;

std::uint64_t line(LineOperation operation, std::uint32_t gsi) {
    return static_cast<std::uint64_t>(operation) << 32 | gsi;
}

acrn_vm_memmap ram_segment(const SessionBench& bench, std::uint64_t base, std::uint64_t size) {
    acrn_vm_memmap segment{};
    segment.type = ACRN_MEMMAP_RAM;
    segment.attr = ACRN_MEM_ACCESS_RWX | ACRN_MEM_TYPE_WB;
    segment.user_vm_pa = base;
    segment.vma_base = bench.page_address() + 4096;
    segment.len = size;
    return segment;
}

TEST(VmSession, EverythingIsInvalidBeforeAVmIsCreated) {
    SessionBench bench;
    for (const unsigned long request :
         {static_cast<unsigned long>(ACRN_IOCTL_START_VM),
          static_cast<unsigned long>(ACRN_IOCTL_DESTROY_VM),
          static_cast<unsigned long>(ACRN_IOCTL_SET_MEMSEG),
          static_cast<unsigned long>(ACRN_IOCTL_CREATE_IOREQ_CLIENT), 0xA2FFUL, 0UL}) {
        EXPECT_EQ(bench.call(request), -EINVAL) << std::hex << request;
    }
    EXPECT_EQ(bench.attach()->value_or(1), -EINVAL);
}

TEST(VmSession, CreateTellsIdAndVcpus) {
    SessionBench bench;
    ASSERT_EQ(bench.create(0b101), 0);
    EXPECT_EQ(bench.creation().vmid, 1);
    EXPECT_EQ(bench.creation().vcpu_num, 2);
    EXPECT_EQ(bench.spec().name, "vm");
    EXPECT_THAT(bench.spec().apic_ids, ::testing::ElementsAre(0U, 4U));
    EXPECT_THAT(bench.spec().cpu_affinity, ::testing::ElementsAre(0U, 2U));
    EXPECT_EQ(bench.slot(0).processed, unsigned{ACRN_IOREQ_STATE_FREE});
    EXPECT_EQ(bench.slot(15).processed, unsigned{ACRN_IOREQ_STATE_FREE});
}

TEST(VmSession, CreateRefusesWhatItCannotGive) {
    SessionBench bench;
    EXPECT_EQ(bench.call(ACRN_IOCTL_CREATE_VM, 16), -EFAULT);
    acrn_vm_creation creation{};
    creation.ioreq_buf = bench.page_address();
    creation.cpu_affinity = 1;
    creation.reserved0 = 1;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_CREATE_VM, creation), -EINVAL);
    creation.reserved0 = 0;
    creation.reserved1 = 1;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_CREATE_VM, creation), -EINVAL);
    creation.reserved1 = 0;
    creation.ioreq_buf = 4096;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_CREATE_VM, creation), -EINVAL) << "no page";
    creation.ioreq_buf = bench.page_address() + 8;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_CREATE_VM, creation), -EINVAL) << "not a page";
    EXPECT_EQ(bench.create(0b1000), -EINVAL) << "an offline CPU";
    EXPECT_EQ(bench.create(std::uint64_t{1} << 40), -EINVAL) << "no such CPU";
    EXPECT_EQ(bench.create(0x1FFFF), -EINVAL) << "17 vCPUs";
    EXPECT_EQ(bench.create(), 0);
    EXPECT_EQ(bench.create(), -EINVAL) << "a second one";
}

TEST(VmSession, ANameIsTakenAsLongAsItsVmLives) {
    SessionBench bench;
    ASSERT_EQ(bench.create(1, 0, "twin"), 0);
    VmSession second(bench.parts());
    acrn_vm_creation creation{};
    std::memcpy(&creation.uuid, "twin", 4);
    creation.ioreq_buf = bench.page_address() + 4096;
    const auto place = reinterpret_cast<std::uint64_t>(bench.client().shared().data());
    ASSERT_TRUE(bench.client().store(place, creation));
    EXPECT_EQ(second.call(ACRN_IOCTL_CREATE_VM, place, bench.client()), -EINVAL);
    bench.close();
    EXPECT_EQ(second.call(ACRN_IOCTL_CREATE_VM, place, bench.client()), 0);
}

TEST(VmSession, UnknownNumbersAreNoIoctlsOfAVm) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    EXPECT_EQ(bench.call(0xA2FF), -ENOTTY);
    EXPECT_EQ(bench.call(ACRN_IOCTL_SET_MEMSEG + 0x10000), -ENOTTY) << "another size";
}

TEST(VmSession, BadPointersAreFaults) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    for (const unsigned long request :
         {static_cast<unsigned long>(ACRN_IOCTL_SET_VCPU_REGS),
          static_cast<unsigned long>(ACRN_IOCTL_INJECT_MSI),
          static_cast<unsigned long>(ACRN_IOCTL_VM_INTR_MONITOR),
          static_cast<unsigned long>(ACRN_IOCTL_NOTIFY_REQUEST_FINISH),
          static_cast<unsigned long>(ACRN_IOCTL_SET_MEMSEG),
          static_cast<unsigned long>(ACRN_IOCTL_UNSET_MEMSEG),
          static_cast<unsigned long>(ACRN_IOCTL_SET_PTDEV_INTR),
          static_cast<unsigned long>(ACRN_IOCTL_ASSIGN_PCIDEV),
          static_cast<unsigned long>(ACRN_IOCTL_ASSIGN_MMIODEV),
          static_cast<unsigned long>(ACRN_IOCTL_CREATE_VDEV),
          static_cast<unsigned long>(ACRN_IOCTL_PM_GET_CPU_STATE),
          static_cast<unsigned long>(ACRN_IOCTL_IOEVENTFD),
          static_cast<unsigned long>(ACRN_IOCTL_IRQFD)}) {
        EXPECT_EQ(bench.call(request, 0x1000), -EFAULT) << std::hex << request;
    }
}

TEST(VmSession, TheVmGoesFromCreatedToRunningToPausedAndBack) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    EXPECT_EQ(bench.call(ACRN_IOCTL_RESET_VM), -EPERM);
    EXPECT_EQ(bench.call(ACRN_IOCTL_DESTROY_VM), -EPERM);
    EXPECT_EQ(bench.call(ACRN_IOCTL_START_VM), 0);
    EXPECT_TRUE(bench.vm().running());
    EXPECT_EQ(bench.call(ACRN_IOCTL_START_VM), -EPERM);
    EXPECT_EQ(bench.call(ACRN_IOCTL_RESET_VM), -EPERM);
    EXPECT_EQ(bench.call(ACRN_IOCTL_PAUSE_VM), 0);
    EXPECT_FALSE(bench.vm().running());
    EXPECT_EQ(bench.call(ACRN_IOCTL_PAUSE_VM), 0);
    EXPECT_EQ(bench.call(ACRN_IOCTL_START_VM), -EPERM);
    EXPECT_EQ(bench.call(ACRN_IOCTL_RESET_VM), 0);
    EXPECT_EQ(bench.vm().resets(), 1U);
    EXPECT_EQ(bench.call(ACRN_IOCTL_START_VM), 0);
    EXPECT_EQ(bench.call(ACRN_IOCTL_PAUSE_VM), 0);
    EXPECT_EQ(bench.call(ACRN_IOCTL_DESTROY_VM), 0);
    EXPECT_EQ(bench.call(ACRN_IOCTL_START_VM), -EINVAL);
    EXPECT_EQ(bench.create(), 0) << "the same file, a new VM";
}

TEST(VmSession, ARealTimeVmIsPausedOnlyWhenItsGuestGoes) {
    SessionBench bench;
    bench.run(1, hypervisor::acrn::vm_flag_realtime);
    EXPECT_EQ(bench.call(ACRN_IOCTL_PAUSE_VM), -EPERM);
    std::thread guest([&] { bench.vm().write_port(0x404, 2, 0x3400); });
    while (bench.slot(0).processed != ACRN_IOREQ_STATE_PROCESSING) {
        std::this_thread::yield();
    }
    EXPECT_EQ(bench.call(ACRN_IOCTL_PAUSE_VM), 0);
    guest.join();
}

TEST(VmSession, ReservedFieldsOfRegistersMustBeZero) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    for (const auto spoil : {+[](acrn_vcpu_regs& regs) { regs.reserved[2] = 1; },
                             +[](acrn_vcpu_regs& regs) { regs.vcpu_regs.reserved_32[2] = 1; },
                             +[](acrn_vcpu_regs& regs) { regs.vcpu_regs.reserved_64[3] = 1; },
                             +[](acrn_vcpu_regs& regs) { regs.vcpu_regs.gdt.reserved[0] = 1; },
                             +[](acrn_vcpu_regs& regs) { regs.vcpu_regs.idt.reserved[2] = 1; },
                             +[](acrn_vcpu_regs& regs) { regs.vcpu_id = 1; },
                             +[](acrn_vcpu_regs& regs) { regs.vcpu_regs.cr0 = 1U << 31; }}) {
        acrn_vcpu_regs regs{};
        regs.vcpu_regs.cr0 = 0x11;
        spoil(regs);
        EXPECT_EQ(bench.call_with(ACRN_IOCTL_SET_VCPU_REGS, regs), -EINVAL);
    }
    acrn_vcpu_regs regs{};
    regs.vcpu_regs.cr0 = 0x11;
    regs.vcpu_regs.rip = 0x1234;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_SET_VCPU_REGS, regs), 0);
    EXPECT_EQ(bench.vm().boot_state().rip, 0x1234U);
    EXPECT_EQ(bench.vm().boot_state().ds.limit, 0xFFFF'FFFFU);
    ASSERT_EQ(bench.call(ACRN_IOCTL_START_VM), 0);
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_SET_VCPU_REGS, regs), -EPERM);
}

TEST(VmSession, GuestMemoryIsTheClientsWithoutACopy) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    acrn_vm_memmap segment = ram_segment(bench, 0x10'0000, 0x4000);
    ASSERT_EQ(bench.call_with(ACRN_IOCTL_SET_MEMSEG, segment), 0);
    const std::span<std::byte> guest = bench.vm().memory(0x10'1000, 4);
    ASSERT_EQ(guest.size(), 4U);
    guest[0] = std::byte{0x5A};
    auto* const host = reinterpret_cast<std::byte*>(segment.vma_base + 0x1000);
    EXPECT_EQ(host[0], std::byte{0x5A});
}

TEST(VmSession, SegmentsThatCannotBeAreRefused) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    for (const auto& [spoil, code] :
         {std::pair{+[](acrn_vm_memmap& segment) { segment.len = 0; }, EINVAL},
          {+[](acrn_vm_memmap& segment) { segment.len = 0x800; }, EINVAL},
          {+[](acrn_vm_memmap& segment) { segment.user_vm_pa += 1; }, EINVAL},
          {+[](acrn_vm_memmap& segment) { segment.vma_base += 8; }, EINVAL},
          {+[](acrn_vm_memmap& segment) { segment.type = ACRN_MEMMAP_MMIO; }, EINVAL},
          {+[](acrn_vm_memmap& segment) { segment.type = 7; }, EINVAL},
          {+[](acrn_vm_memmap& segment) { segment.len = std::uint64_t{1} << 60; }, EINVAL},
          {+[](acrn_vm_memmap& segment) { segment.vma_base = 0x1000; }, EFAULT}}) {
        acrn_vm_memmap segment = ram_segment(bench, 0, 0x1000);
        spoil(segment);
        EXPECT_EQ(bench.call_with(ACRN_IOCTL_SET_MEMSEG, segment), -code);
    }
    acrn_vm_memmap segment = ram_segment(bench, 0, 0x1000);
    segment.vma_base = reinterpret_cast<std::uint64_t>(bench.client().own_page().data());
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_SET_MEMSEG, segment), -EFAULT) << "private memory";
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_UNSET_MEMSEG, segment), -EINVAL);
}

TEST(VmSession, NoVmHasMoreThan256Segments) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    for (std::uint64_t i = 0; i < 256; ++i) {
        acrn_vm_memmap segment = ram_segment(bench, i * 0x1000, 0x1000);
        ASSERT_EQ(bench.call_with(ACRN_IOCTL_SET_MEMSEG, segment), 0);
    }
    acrn_vm_memmap segment = ram_segment(bench, 0x100'0000, 0x1000);
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_SET_MEMSEG, segment), -ENOMEM);
}

TEST(VmSession, PciInputsAreLowActiveAndTheOthersHigh) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    hypervisor::FakeVm& vm = bench.vm();
    EXPECT_EQ(bench.call(ACRN_IOCTL_SET_IRQLINE, line(LineOperation::set_high, 9)), 0);
    EXPECT_TRUE(vm.gsi_level({9}));
    EXPECT_EQ(bench.call(ACRN_IOCTL_SET_IRQLINE, line(LineOperation::set_low, 9)), 0);
    EXPECT_FALSE(vm.gsi_level({9}));
    EXPECT_EQ(bench.call(ACRN_IOCTL_SET_IRQLINE, line(LineOperation::set_high, 16)), 0);
    EXPECT_FALSE(vm.gsi_level({16}));
    EXPECT_EQ(bench.call(ACRN_IOCTL_SET_IRQLINE, line(LineOperation::set_low, 16)), 0);
    EXPECT_TRUE(vm.gsi_level({16}));
    EXPECT_EQ(bench.call(ACRN_IOCTL_SET_IRQLINE, line(LineOperation::raising_pulse, 4)), 0);
    EXPECT_EQ(vm.gsi_rises({4}), 1U);
    EXPECT_FALSE(vm.gsi_level({4}));
    EXPECT_EQ(bench.call(ACRN_IOCTL_SET_IRQLINE, line(LineOperation::falling_pulse, 17)), 0);
    EXPECT_EQ(vm.gsi_rises({17}), 1U);
    EXPECT_FALSE(vm.gsi_level({17}));
    EXPECT_EQ(bench.call(ACRN_IOCTL_SET_IRQLINE, line(LineOperation::set_high, 48)), -EINVAL);
    EXPECT_EQ(bench.call(ACRN_IOCTL_SET_IRQLINE, std::uint64_t{4} << 32 | 4), -EINVAL);
}

TEST(VmSession, Gsi2IsTheTimers) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    EXPECT_EQ(bench.call(ACRN_IOCTL_SET_IRQLINE, line(LineOperation::raising_pulse, 2)), 0);
    EXPECT_EQ(bench.vm().gsi_rises({0}), 1U);
    EXPECT_EQ(bench.vm().gsi_rises({2}), 0U);
}

TEST(VmSession, MessagesReachTheHypervisor) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    acrn_msi_entry entry{};
    entry.msi_addr = 0xFEE0'1000;
    entry.msi_data = 0x41;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_INJECT_MSI, entry), 0);
    EXPECT_THAT(bench.vm().take_messages(),
                ::testing::ElementsAre(irq::MsiMessage{.address = 0xFEE0'1000, .data = 0x41}));
}

TEST(VmSession, ThereAreNoDevicesToHandOver) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    acrn_pcidev pci{};
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_ASSIGN_PCIDEV, pci), -ENODEV);
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_DEASSIGN_PCIDEV, pci), -ENODEV);
    acrn_ptdev_irq irq{};
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_SET_PTDEV_INTR, irq), -EPERM);
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_RESET_PTDEV_INTR, irq), -EPERM);
    acrn_mmiodev mmio{};
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_ASSIGN_MMIODEV, mmio), -EINVAL);
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_DEASSIGN_MMIODEV, mmio), -EINVAL);
    acrn_vdev vdev{};
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_CREATE_VDEV, vdev), -EINVAL);
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_DESTROY_VDEV, vdev), -EINVAL);
}

TEST(VmSession, ADeviceIsHandedOverBeforeTheStartOnly) {
    SessionBench bench;
    bench.run();
    acrn_pcidev pci{};
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_ASSIGN_PCIDEV, pci), -EINVAL);
    EXPECT_EQ(bench.call(ACRN_IOCTL_PAUSE_VM), 0);
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_ASSIGN_PCIDEV, pci), -EINVAL);
    EXPECT_EQ(bench.call(ACRN_IOCTL_RESET_VM), 0);
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_ASSIGN_PCIDEV, pci), -ENODEV);
    EXPECT_EQ(bench.call(ACRN_IOCTL_ASSIGN_PCIDEV, 1), -EFAULT);
}

TEST(VmSession, ThereAreNoPerformanceStates) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    std::uint64_t word = ACRN_PMCMD_GET_PX_CNT | 1U << 24;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_PM_GET_CPU_STATE, word), 0);
    EXPECT_EQ(word, 0U);
    word = ACRN_PMCMD_GET_CX_DATA;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_PM_GET_CPU_STATE, word), -EINVAL);
    word = 0x77;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_PM_GET_CPU_STATE, word), 0);
    EXPECT_EQ(word, 0x77U) << "an unknown question has no answer";
}

acrn_ioeventfd doorbell(int fd, std::uint64_t address, std::uint32_t length, std::uint32_t flags,
                        std::uint64_t data = 0) {
    acrn_ioeventfd change{};
    change.fd = static_cast<std::uint32_t>(fd);
    change.flags = flags;
    change.addr = address;
    change.len = length;
    change.data = data;
    return change;
}

TEST(VmSession, DoorbellsAreCheckedAndTakenAway) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    const auto bell = base::make_eventfd();
    ASSERT_TRUE(bell);
    const int fd = bell->get();
    auto assign = [&](acrn_ioeventfd change) {
        return bench.call_with(ACRN_IOCTL_IOEVENTFD, change);
    };
    acrn_ioeventfd reserved = doorbell(fd, 0x1000, 2, 0);
    reserved.reserved = 1;
    EXPECT_EQ(assign(reserved), -EINVAL);
    EXPECT_EQ(assign(doorbell(fd, 0x1000, 3, 0)), -EINVAL);
    EXPECT_EQ(assign(doorbell(fd, ~std::uint64_t{0}, 2, 0)), -EINVAL);
    EXPECT_EQ(assign(doorbell(-1, 0x1000, 2, 0)), -EBADF);
    EXPECT_EQ(assign(doorbell(0x7000, 0x1000, 2, 0)), -EBADF);
    const auto file = base::open_file("/dev/null", 0);
    ASSERT_TRUE(file);
    EXPECT_EQ(assign(doorbell(file->get(), 0x1000, 2, 0)), -EINVAL) << "not an eventfd";
    constexpr std::uint32_t match = ACRN_IOEVENTFD_FLAG_DATAMATCH;
    EXPECT_EQ(assign(doorbell(fd, 0x1000, 2, match, 1)), 0);
    EXPECT_EQ(assign(doorbell(fd, 0x1000, 2, match, 2)), 0);
    EXPECT_EQ(assign(doorbell(fd, 0x1000, 2, match, 1)), -EEXIST);
    EXPECT_EQ(assign(doorbell(fd, 0x1000, 2, 0)), -EEXIST);
    constexpr std::uint32_t remove = ACRN_IOEVENTFD_FLAG_DEASSIGN;
    EXPECT_EQ(assign(doorbell(fd, 0, 0, remove)), 0);
    EXPECT_EQ(assign(doorbell(fd, 0, 0, remove)), 0);
    EXPECT_EQ(assign(doorbell(fd, 0, 0, remove)), 0) << "none is left";
    EXPECT_EQ(assign(doorbell(fd, 0x1000, 2, match, 1)), 0);
}

std::uint64_t count_of(int eventfd) {
    std::uint64_t count = 0;
    return ::read(eventfd, &count, sizeof count) == sizeof count ? count : 0;
}

TEST(VmSession, ADoorbellsRangeNeverReachesTheClient) {
    SessionBench bench;
    bench.run();
    const auto bell = base::make_eventfd();
    ASSERT_TRUE(bell);
    acrn_ioeventfd change = doorbell(bell->get(), 0xC010, 2,
                                     ACRN_IOEVENTFD_FLAG_PIO | ACRN_IOEVENTFD_FLAG_DATAMATCH, 3);
    ASSERT_EQ(bench.call_with(ACRN_IOCTL_IOEVENTFD, change), 0);
    bench.vm().write_port(0xC010, 2, 3);
    EXPECT_EQ(count_of(bell->get()), 1U);
    bench.vm().write_port(0xC010, 2, 4);
    EXPECT_EQ(count_of(bell->get()), 0U) << "another value is swallowed";
    bench.vm().write_port(0xC010, 1, 3);
    EXPECT_EQ(count_of(bell->get()), 1U) << "a narrower access rings too";
    EXPECT_EQ(bench.vm().read_port(0xC010, 2), 0U);
    EXPECT_EQ(bench.vm().request_count(), 4U);
}

TEST(VmSession, InterruptEventfdsAreCheckedAndInject) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    const auto line_fd = base::make_eventfd();
    ASSERT_TRUE(line_fd);
    acrn_irqfd change{};
    change.fd = -1;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_IRQFD, change), -EBADF);
    change.fd = line_fd->get();
    change.msi.msi_addr = 0xFEE0'0000;
    change.msi.msi_data = 0x55;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_IRQFD, change), 0);
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_IRQFD, change), -EBUSY);
    base::signal_eventfd(line_fd->get());
    EXPECT_EQ(bench.vm().deliver_event_interrupts(), 1U);
    EXPECT_EQ(bench.vm().take_messages().at(0).data, 0x55U);
    change.flags = ACRN_IRQFD_FLAG_DEASSIGN;
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_IRQFD, change), 0);
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_IRQFD, change), 0) << "none is left";
    base::signal_eventfd(line_fd->get());
    EXPECT_EQ(bench.vm().deliver_event_interrupts(), 0U);
}

TEST(VmSession, TheInterruptMonitorHasNothingToTell) {
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    std::array<std::uint32_t, 2> header{0, 48};
    EXPECT_EQ(bench.call_with(ACRN_IOCTL_VM_INTR_MONITOR, header), 0);
    EXPECT_EQ(header[1], 0U);
}

/// A ring's page in the client's memory.
class RingPage {
  public:
    explicit RingPage(SessionBench& bench, std::uint32_t element_size)
        : bench_(bench), address_(bench.page_address() + 0x8000) {
        const std::uint32_t count = 4032 / element_size;
        header_ = {.magic = hypervisor::acrn::shared_ring_magic,
                   .elements = count,
                   .element_size = element_size,
                   .size = count * element_size};
    }
    std::uint64_t address() const { return address_; }
    hypervisor::acrn::SharedRingHeader& header() { return header_; }
    int set_up(unsigned long request) {
        EXPECT_TRUE(bench_.client().store(address_, header_));
        return bench_.call(request, address_);
    }

  private:
    SessionBench& bench_;
    std::uint64_t address_;
    hypervisor::acrn::SharedRingHeader header_{};
};

TEST(VmSession, RingsAreCheckedAndTakenOnce) {
    using namespace hypervisor::acrn;
    for (const auto& [request, element] :
         {std::pair(ioctl_setup_asyncio, 8U), std::pair(ioctl_setup_vm_event_ring, 32U)}) {
        SessionBench bench;
        ASSERT_EQ(bench.create(), 0);
        const RingPage good(bench, element);
        EXPECT_EQ(bench.call(request, 0x1000), -EFAULT);
        EXPECT_EQ(bench.call(request, good.address() + 8), -EINVAL);
        for (const auto spoil : std::initializer_list<void (*)(SharedRingHeader&)>{
                 [](SharedRingHeader& header) { header.magic = 1; },
                 [](SharedRingHeader& header) { header.element_size = 16; },
                 [](SharedRingHeader& header) { header.elements = 0x8000'0000; },
                 [](SharedRingHeader& header) { header.size = 0; },
                 [](SharedRingHeader& header) { header = {}; }}) {
            RingPage bad(bench, element);
            spoil(bad.header());
            EXPECT_EQ(bad.set_up(request), -EINVAL);
        }
        RingPage ring = good;
        EXPECT_EQ(ring.set_up(request), 0);
        EXPECT_EQ(ring.set_up(request), -EEXIST);
    }
}

TEST(VmSession, ATripleFaultIsAnEventBeforeItIsAPowerOff) {
    using namespace hypervisor::acrn;
    SessionBench bench;
    ASSERT_EQ(bench.create(), 0);
    const auto eventfd = base::make_eventfd();
    ASSERT_TRUE(eventfd);
    const auto number = static_cast<std::uint64_t>(eventfd->get());
    EXPECT_EQ(bench.call(ioctl_setup_vm_event_fd, number), -ENODEV) << "no ring";
    RingPage ring(bench, sizeof(VmEvent));
    ASSERT_EQ(ring.set_up(ioctl_setup_vm_event_ring), 0);
    EXPECT_EQ(bench.call(ioctl_setup_vm_event_fd, 9999), -EBADF);
    ASSERT_EQ(bench.call(ioctl_setup_vm_event_fd, number), 0);
    EXPECT_EQ(bench.call(ioctl_setup_vm_event_fd, number), -EEXIST);
    ASSERT_EQ(bench.call(ACRN_IOCTL_CREATE_IOREQ_CLIENT), 0);
    ASSERT_EQ(bench.call(ACRN_IOCTL_START_VM), 0);
    const auto attached = bench.attach();
    std::thread processor([&] { bench.vm().stop(hypervisor::VmStop::triple_fault); });
    while (bench.slot(0).processed != ACRN_IOREQ_STATE_PROCESSING) {
        std::this_thread::yield();
    }
    const auto header = bench.client().load<SharedRingHeader>(ring.address());
    EXPECT_EQ(header->tail, sizeof(VmEvent));
    EXPECT_EQ(bench.client().load<VmEvent>(ring.address() + sizeof *header)->type,
              vm_event_triple_fault);
    std::uint64_t count = 0;
    EXPECT_EQ(::read(eventfd->get(), &count, sizeof count), 8);
    EXPECT_EQ(bench.call(ACRN_IOCTL_PAUSE_VM), 0);
    processor.join();
}

}  // namespace
}  // namespace cupule::hsm
