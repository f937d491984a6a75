#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "event/mutex.h"
#include "io/address_space.h"
#include "io/io_dispatcher.h"
#include "io/io_request.h"
#include "pci/config_mechanism.h"
#include "pci/function.h"

namespace cupule::hsm {

/// A PCI function of a VM that the hypervisor has: one of the host's, or one of its own. Called
/// with its monitor held.
class VmFunction {
  public:
    virtual ~VmFunction() = default;
    virtual pci::Function& function() = 0;
    /// Back to the state in which it was made; `function()` too.
    virtual void reset() = 0;
};

/// How the client places a function: what a guest finds in these registers after a reset.
struct FunctionPlace {
    io::PciAddress bdf{};
    std::array<std::uint32_t, 6> bars{};
    std::uint8_t interrupt_line = 0;
    /// The expansion ROM's register is the client's (ACRN's QUIRK_ASSIGN).
    bool client_has_rom = false;
};

/// The functions of a VM that the hypervisor has, by their places. They stand before the client:
/// what is theirs in configuration space, in its memory window and in BARs never reaches it.
/// Changed while no processor runs; `handle` by one thread for each vCPU.
class VmFunctions : private io::PciConfigAccess {
  public:
    explicit VmFunctions(unsigned vcpus);
    ~VmFunctions() override;
    VmFunctions(const VmFunctions&) = delete;
    VmFunctions& operator=(const VmFunctions&) = delete;

    bool has(io::PciAddress bdf) const { return entries_.contains(bdf.routing_id()); }
    /// Nobody is at `place.bdf`. `monitor` is the function's own.
    void add(const FunctionPlace& place, std::unique_ptr<event::Monitor> monitor,
             std::unique_ptr<VmFunction> function);
    /// nullptr: nobody is there.
    VmFunction* find(io::PciAddress bdf) const;
    event::Monitor& monitor(io::PciAddress bdf) const;
    void remove(io::PciAddress bdf);
    void reset();

    /// Completes a request that is theirs; false where it is not.
    bool handle(io::IoRequest& request);

  private:
    struct Entry {
        FunctionPlace place{};
        std::unique_ptr<event::Monitor> monitor{};
        std::unique_ptr<VmFunction> function{};
    };
    static void settle(const Entry& entry);
    bool handle_config(io::IoRequest& request, io::PciAddress bdf, std::uint64_t offset);

    std::uint64_t read_config(io::PciAddress bdf, std::uint64_t offset, unsigned size) override;
    void write_config(io::PciAddress bdf, std::uint64_t offset, unsigned size,
                      std::uint64_t value) override;
    std::string_view function_name(io::PciAddress /*bdf*/) const override { return {}; }
    std::string_view config_register_name(std::uint64_t /*offset*/) const override { return {}; }

    io::AddressSpace ports_;
    io::AddressSpace memory_;
    pci::Ecam ecam_;
    std::map<std::uint16_t, Entry> entries_;
};

}  // namespace cupule::hsm
