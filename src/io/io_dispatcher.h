#pragma once

#include <cstdint>

#include "io/address_space.h"
#include "io/io_request.h"
#include "io/io_trace.h"

namespace cupule::io {

/// Answers PCI configuration accesses by BDF. Takes the function's monitor itself, as only it knows
/// which function answers. Any thread.
class PciConfigAccess {
  public:
    virtual ~PciConfigAccess() = default;
    /// `offset` 0 to 4095, `size` 1, 2 or 4. Nobody there, or not naturally aligned: ones.
    virtual std::uint64_t read_config(PciAddress bdf, std::uint64_t offset, unsigned size) = 0;
    virtual void write_config(PciAddress bdf, std::uint64_t offset, unsigned size,
                              std::uint64_t value) = 0;
    /// What traces call the function and its register; may be empty.
    virtual std::string_view function_name(PciAddress bdf) const = 0;
    virtual std::string_view config_register_name(std::uint64_t offset) const = 0;
};

/// The device model's I/O client: finds the handler of a request and enters the device under its
/// monitor. Unclaimed reads are ones, unclaimed writes are dropped. A port access that is not
/// wholly in one range is split into bytes, as an 8-bit bus does.
class IoDispatcher : public IoClient {
  public:
    /// `vcpus`: requests carry vCPU numbers below this.
    explicit IoDispatcher(unsigned vcpus);

    AddressSpace& ports() { return ports_; }
    AddressSpace& mmio() { return mmio_; }
    /// Who answers pci_config requests; set before the guest runs.
    void set_pci_config(PciConfigAccess* pci) { pci_ = pci; }
    /// Records every request from now on; set before the guest runs. nullptr: none.
    void set_tracer(IoTracer* tracer) { tracer_ = tracer; }

    void handle(IoRequest& request) override;

  private:
    void handle_ranged(IoRequest& request, AddressSpace& space);
    void handle_pci(IoRequest& request);
    void split_into_bytes(IoRequest& request);

    const unsigned vcpus_;
    AddressSpace ports_;
    AddressSpace mmio_;
    PciConfigAccess* pci_ = nullptr;
    IoTracer* tracer_ = nullptr;
};

}  // namespace cupule::io
