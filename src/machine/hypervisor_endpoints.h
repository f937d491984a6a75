#pragma once

#include <memory>

#include "machine/pci_device_factories.h"

namespace cupule::machine {

// Devices that the hypervisor itself emulates (ACRN): here is only their place on the bus.

/// `hv:/NAME,SIZE_MB[,REGION]`: memory between virtual machines.
base::Result<std::unique_ptr<Endpoint>> make_ivshmem(const SlotOptions& slot,
                                                     const EndpointContext& context);
/// `vuart_idx:N`: a serial port to another virtual machine.
base::Result<std::unique_ptr<Endpoint>> make_pci_uart(const SlotOptions& slot,
                                                      const EndpointContext& context);

}  // namespace cupule::machine
