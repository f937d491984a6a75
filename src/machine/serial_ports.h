#pragma once

#include <memory>
#include <vector>

#include "acpi/platform.h"
#include "backend/byte_channel_factory.h"
#include "base/error.h"
#include "device/serial/uart_16550.h"
#include "event/event_loop.h"
#include "io/io_dispatcher.h"
#include "irq/interrupt_router.h"
#include "machine/parts.h"
#include "machine/vm_options.h"

namespace cupule::machine {

/// COM1 to COM5 as `-l` asks for them, each with its back end.
class SerialPorts {
  public:
    static base::Result<std::unique_ptr<SerialPorts>> create(
        const std::vector<SerialOptions>& options, io::IoDispatcher& dispatcher,
        irq::InterruptRouter& interrupts, event::EventLoop& loop, backend::StdioOwner& stdio,
        Parts& parts);
    ~SerialPorts();

    /// For the ACPI tables.
    std::vector<acpi::SerialPort> describe() const;

  private:
    struct Port {
        SerialOptions options;
        event::Monitor* monitor = nullptr;
        std::unique_ptr<irq::LevelLine> line;
        std::unique_ptr<backend::ByteChannel> channel;
        std::unique_ptr<device::Uart16550> uart;
    };
    SerialPorts() = default;
    base::Result<void> add(const SerialOptions& options, io::IoDispatcher& dispatcher,
                           irq::InterruptRouter& interrupts, event::EventLoop& loop,
                           backend::StdioOwner& stdio, Parts& parts);

    std::vector<Port> ports_;
};

}  // namespace cupule::machine
