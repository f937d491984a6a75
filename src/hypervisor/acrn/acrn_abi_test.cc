#include "hypervisor/acrn/acrn_abi.h"

#include <gtest/gtest.h>

namespace cupule::hypervisor::acrn {
namespace {

struct Number {
    const char* name;
    unsigned long ours;
    unsigned long catalogue;
};

TEST(AcrnAbi, NumbersOfAllIoctlsAreThoseOfTheCatalogue) {
    const Number numbers[] = {
        {"CREATE_VM", ACRN_IOCTL_CREATE_VM, 0xC030A210},
        {"DESTROY_VM", ACRN_IOCTL_DESTROY_VM, 0x0000A211},
        {"START_VM", ACRN_IOCTL_START_VM, 0x0000A212},
        {"PAUSE_VM", ACRN_IOCTL_PAUSE_VM, 0x0000A213},
        {"RESET_VM", ACRN_IOCTL_RESET_VM, 0x0000A215},
        {"SET_VCPU_REGS", ACRN_IOCTL_SET_VCPU_REGS, 0x4128A216},
        {"INJECT_MSI", ACRN_IOCTL_INJECT_MSI, 0x4010A223},
        {"VM_INTR_MONITOR", ACRN_IOCTL_VM_INTR_MONITOR, 0x4008A224},
        {"SET_IRQLINE", ACRN_IOCTL_SET_IRQLINE, 0x4008A225},
        {"NOTIFY_REQUEST_FINISH", ACRN_IOCTL_NOTIFY_REQUEST_FINISH, 0x4008A231},
        {"CREATE_IOREQ_CLIENT", ACRN_IOCTL_CREATE_IOREQ_CLIENT, 0xA232},
        {"ATTACH_IOREQ_CLIENT", ACRN_IOCTL_ATTACH_IOREQ_CLIENT, 0xA233},
        {"DESTROY_IOREQ_CLIENT", ACRN_IOCTL_DESTROY_IOREQ_CLIENT, 0xA234},
        {"CLEAR_VM_IOREQ", ACRN_IOCTL_CLEAR_VM_IOREQ, 0xA235},
        {"SET_MEMSEG", ACRN_IOCTL_SET_MEMSEG, 0x4020A241},
        {"UNSET_MEMSEG", ACRN_IOCTL_UNSET_MEMSEG, 0x4020A242},
        {"SET_PTDEV_INTR", ACRN_IOCTL_SET_PTDEV_INTR, 0x4014A253},
        {"RESET_PTDEV_INTR", ACRN_IOCTL_RESET_PTDEV_INTR, 0x4014A254},
        {"ASSIGN_PCIDEV", ACRN_IOCTL_ASSIGN_PCIDEV, 0x4024A255},
        {"DEASSIGN_PCIDEV", ACRN_IOCTL_DEASSIGN_PCIDEV, 0x4024A256},
        {"ASSIGN_MMIODEV", ACRN_IOCTL_ASSIGN_MMIODEV, 0x4068A257},
        {"DEASSIGN_MMIODEV", ACRN_IOCTL_DEASSIGN_MMIODEV, 0x4068A258},
        {"CREATE_VDEV", ACRN_IOCTL_CREATE_VDEV, 0x40C0A259},
        {"DESTROY_VDEV", ACRN_IOCTL_DESTROY_VDEV, 0x40C0A25A},
        {"PM_GET_CPU_STATE", ACRN_IOCTL_PM_GET_CPU_STATE, 0xC008A260},
        {"IOEVENTFD", ACRN_IOCTL_IOEVENTFD, 0x4020A270},
        {"IRQFD", ACRN_IOCTL_IRQFD, 0x4018A271},
        {"SETUP_ASYNCIO", ioctl_setup_asyncio, 0x4008A290},
        {"SETUP_VM_EVENT_RING", ioctl_setup_vm_event_ring, 0x4008A2A0},
        {"SETUP_VM_EVENT_FD", ioctl_setup_vm_event_fd, 0x4004A2A1},
    };
    for (const Number& number : numbers) {
        EXPECT_EQ(number.ours, number.catalogue) << number.name;
    }
}

TEST(AcrnAbi, SizesAreThoseOfTheCatalogue) {
    EXPECT_EQ(sizeof(acrn_vm_creation), 48U);
    EXPECT_EQ(sizeof(acrn_io_request), 256U);
    EXPECT_EQ(alignof(acrn_io_request), 256U);
    EXPECT_EQ(sizeof(acrn_io_request_buffer), 4096U);
    EXPECT_EQ(sizeof(acrn_ioreq_notify), 8U);
    EXPECT_EQ(sizeof(acrn_vcpu_regs), 296U);
    EXPECT_EQ(sizeof(acrn_vm_memmap), 32U);
    EXPECT_EQ(sizeof(acrn_ptdev_irq), 20U);
    EXPECT_EQ(sizeof(acrn_pcidev), 36U);
    EXPECT_EQ(sizeof(acrn_mmiodev), 104U);
    EXPECT_EQ(sizeof(acrn_vdev), 192U);
    EXPECT_EQ(sizeof(acrn_msi_entry), 16U);
    EXPECT_EQ(sizeof(acrn_ioeventfd), 32U);
    EXPECT_EQ(sizeof(acrn_irqfd), 24U);
    EXPECT_EQ(sizeof(acrn_pstate_data), 48U);
    EXPECT_EQ(sizeof(acrn_cstate_data), 32U);
}

TEST(AcrnAbi, FieldsOfTheRequestPageStandWhereTheHypervisorPutsThem) {
    EXPECT_EQ(offsetof(acrn_io_request, type), 0U);
    EXPECT_EQ(offsetof(acrn_io_request, completion_polling), 4U);
    EXPECT_EQ(offsetof(acrn_io_request, reqs), 64U);
    EXPECT_EQ(offsetof(acrn_io_request, kernel_handled), 132U);
    EXPECT_EQ(offsetof(acrn_io_request, processed), 136U);
    EXPECT_EQ(offsetof(acrn_pio_request, address), 8U);
    EXPECT_EQ(offsetof(acrn_pio_request, size), 16U);
    EXPECT_EQ(offsetof(acrn_pio_request, value), 24U);
    EXPECT_EQ(offsetof(acrn_mmio_request, value), 24U);
    EXPECT_EQ(offsetof(acrn_pci_request, value), 24U);
    EXPECT_EQ(offsetof(acrn_pci_request, bus), 28U);
    EXPECT_EQ(offsetof(acrn_pci_request, dev), 32U);
    EXPECT_EQ(offsetof(acrn_pci_request, func), 36U);
    EXPECT_EQ(offsetof(acrn_pci_request, reg), 40U);
    EXPECT_EQ(value_offset, 88U);
}

TEST(AcrnAbi, FieldsOfTheArgumentsStandWhereTheCatalogueSays) {
    EXPECT_EQ(offsetof(acrn_vm_creation, vcpu_num), 4U);
    EXPECT_EQ(offsetof(acrn_vm_creation, uuid), 8U);
    EXPECT_EQ(offsetof(acrn_vm_creation, vm_flag), 24U);
    EXPECT_EQ(offsetof(acrn_vm_creation, ioreq_buf), 32U);
    EXPECT_EQ(offsetof(acrn_vm_creation, cpu_affinity), 40U);
    EXPECT_EQ(offsetof(acrn_vcpu_regs, vcpu_regs), 8U);
    EXPECT_EQ(offsetof(acrn_regs, gdt), 128U);
    EXPECT_EQ(offsetof(acrn_regs, idt), 144U);
    EXPECT_EQ(offsetof(acrn_regs, rip), 160U);
    EXPECT_EQ(offsetof(acrn_regs, cs_base), 168U);
    EXPECT_EQ(offsetof(acrn_regs, cr0), 176U);
    EXPECT_EQ(offsetof(acrn_regs, cr4), 184U);
    EXPECT_EQ(offsetof(acrn_regs, cr3), 192U);
    EXPECT_EQ(offsetof(acrn_regs, ia32_efer), 200U);
    EXPECT_EQ(offsetof(acrn_regs, rflags), 208U);
    EXPECT_EQ(offsetof(acrn_regs, cs_ar), 248U);
    EXPECT_EQ(offsetof(acrn_regs, cs_limit), 252U);
    EXPECT_EQ(offsetof(acrn_regs, cs_sel), 268U);
    EXPECT_EQ(offsetof(acrn_regs, tr_sel), 282U);
    EXPECT_EQ(offsetof(acrn_vm_memmap, vma_base), 16U);
    EXPECT_EQ(offsetof(acrn_vm_memmap, len), 24U);
    EXPECT_EQ(offsetof(acrn_ptdev_irq, intx), 8U);
    EXPECT_EQ(offsetof(acrn_pcidev, intr_line), 8U);
    EXPECT_EQ(offsetof(acrn_pcidev, bar), 12U);
    EXPECT_EQ(offsetof(acrn_vdev, slot), 8U);
    EXPECT_EQ(offsetof(acrn_vdev, args), 64U);
    EXPECT_EQ(offsetof(acrn_ioeventfd, addr), 8U);
    EXPECT_EQ(offsetof(acrn_ioeventfd, data), 24U);
    EXPECT_EQ(offsetof(acrn_irqfd, msi), 8U);
    EXPECT_EQ(offsetof(acrn_cstate_data, latency), 16U);
}

TEST(AcrnAbi, WhatTheKernelsHeaderLacksIsAsTheHypervisorHasIt) {
    EXPECT_EQ(ioeventfd_flag_asyncio, 8U);
    EXPECT_EQ(sizeof(SharedRingHeader), 64U);
    EXPECT_EQ(offsetof(SharedRingHeader, elements), 8U);
    EXPECT_EQ(offsetof(SharedRingHeader, element_size), 12U);
    EXPECT_EQ(offsetof(SharedRingHeader, head), 16U);
    EXPECT_EQ(offsetof(SharedRingHeader, tail), 20U);
    EXPECT_EQ(offsetof(SharedRingHeader, flags), 24U);
    EXPECT_EQ(offsetof(SharedRingHeader, overruns), 32U);
    EXPECT_EQ(offsetof(SharedRingHeader, size), 36U);
    EXPECT_EQ(shared_ring_magic, 0x5AA57AA71AA13AA3U);
    EXPECT_EQ(sizeof(VmEvent), 32U);
    EXPECT_EQ(offsetof(VmEvent, data), 4U);
    EXPECT_EQ(sizeof(RootPortArguments), 12U);
    EXPECT_EQ(offsetof(RootPortArguments, max_payload), 2U);
    EXPECT_EQ(offsetof(RootPortArguments, primary_bus), 3U);
    EXPECT_EQ(offsetof(RootPortArguments, secondary_bus), 4U);
    EXPECT_EQ(offsetof(RootPortArguments, subordinate_bus), 5U);
    EXPECT_EQ(offsetof(RootPortArguments, ptm_capable), 6U);
    EXPECT_EQ(offsetof(RootPortArguments, ptm_offset), 8U);
}

TEST(AcrnAbi, FieldsOfDeviceCallsStandWhereTheCatalogueSays) {
    EXPECT_EQ(offsetof(acrn_pcidev, type), 0U);
    EXPECT_EQ(offsetof(acrn_pcidev, virt_bdf), 4U);
    EXPECT_EQ(offsetof(acrn_pcidev, phys_bdf), 6U);
    EXPECT_EQ(offsetof(acrn_pcidev, intr_pin), 9U);
    EXPECT_EQ(offsetof(acrn_ptdev_irq, virt_bdf), 4U);
    EXPECT_EQ(offsetof(acrn_ptdev_irq, phys_bdf), 6U);
    EXPECT_EQ(offsetof(acrn_ptdev_irq, intx.virt_pin), 8U);
    EXPECT_EQ(offsetof(acrn_ptdev_irq, intx.phys_pin), 12U);
    EXPECT_EQ(offsetof(acrn_ptdev_irq, intx.is_pic_pin), 16U);
    EXPECT_EQ(offsetof(acrn_mmiodev, res), 8U);
    EXPECT_EQ(offsetof(acrn_mmiodev, res[0].service_vm_pa), 16U);
    EXPECT_EQ(offsetof(acrn_mmiodev, res[0].size), 24U);
    EXPECT_EQ(offsetof(acrn_mmiodev, res[0].mem_type), 32U);
    EXPECT_EQ(offsetof(acrn_vdev, id.fields.vendor), 0U);
    EXPECT_EQ(offsetof(acrn_vdev, id.fields.device), 2U);
    EXPECT_EQ(offsetof(acrn_vdev, id.fields.legacy_id), 4U);
    EXPECT_EQ(offsetof(acrn_vdev, io_addr), 16U);
    EXPECT_EQ(offsetof(acrn_vdev, io_size), 40U);
}

}  // namespace
}  // namespace cupule::hypervisor::acrn
