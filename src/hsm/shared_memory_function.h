#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "hsm/shared_memory.h"
#include "hsm/vm_functions.h"
#include "hypervisor/vm.h"
#include "pci/bar_regions.h"
#include "pci/msix.h"

// An ivshmem device, revision 1, as ACRN's hypervisor has one (1af4:1110; QEMU's ivshmem
// specification, docs/specs/ivshmem-spec.rst).
//
// Models: the registers (BAR 0), MSI-X of 8 vectors (BAR 1), the memory (BAR 2); a write to the
//   doorbell sends another VM's vector. A VM's position is its number.
// Leaves out: INTx, which revision 1 has not.
// Differs on purpose: a doorbell rings soon, not before the write has ended.
namespace cupule::hsm {

class SharedMemoryFunction : public VmFunction {
  public:
    /// `memory` and `vm` outlive it; `monitor` is its own. nullptr: the VM has joined already.
    static std::unique_ptr<SharedMemoryFunction> create(SharedMemory& memory, hypervisor::Vm& vm,
                                                        std::uint16_t position,
                                                        event::Monitor& monitor);
    ~SharedMemoryFunction() override;
    SharedMemoryFunction(const SharedMemoryFunction&) = delete;
    SharedMemoryFunction& operator=(const SharedMemoryFunction&) = delete;

    pci::Function& function() override { return function_; }
    void reset() override;

  private:
    class Registers : public io::IoHandler {
      public:
        explicit Registers(SharedMemoryFunction& owner) : owner_(owner) {}
        std::uint64_t read(std::uint64_t offset, unsigned size) override;
        void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
        std::string_view register_name(std::uint64_t) const override { return {}; }

      private:
        SharedMemoryFunction& owner_;
    };
    class Mapper : public pci::BarMapper {
      public:
        explicit Mapper(SharedMemoryFunction& owner) : owner_(owner) {}
        void bar_moved(unsigned bar, std::optional<std::uint64_t> address) override;

      private:
        SharedMemoryFunction& owner_;
        std::optional<std::uint64_t> mapped_;
    };
    struct State {
        std::uint32_t interrupt_mask = 0;
        std::uint32_t interrupt_status = 0;
    };

    SharedMemoryFunction(SharedMemory& memory, hypervisor::Vm& vm, std::uint16_t position);

    SharedMemory& memory_;
    hypervisor::Vm& vm_;
    const std::uint16_t position_;
    State state_;
    Registers registers_{*this};
    Mapper mapper_{*this};
    pci::BarRegions interrupts_;
    pci::Function function_;
    pci::Msix msix_;
    bool joined_ = false;
};

}  // namespace cupule::hsm
