#include "machine/serial_ports.h"

#include <utility>

namespace cupule::machine {
namespace {

constexpr std::uint64_t uart_ports = 8;

}  // namespace

base::Result<std::unique_ptr<SerialPorts>> SerialPorts::create(
    const std::vector<SerialOptions>& options, io::IoDispatcher& dispatcher,
    irq::InterruptRouter& interrupts, event::EventLoop& loop, backend::StdioOwner& stdio,
    Parts& parts) {
    std::unique_ptr<SerialPorts> result(new SerialPorts);
    for (const SerialOptions& port : options) {
        CUPULE_TRY(result->add(port, dispatcher, interrupts, loop, stdio, parts));
    }
    return result;
}

SerialPorts::~SerialPorts() {
    for (Port& port : ports_) {
        event::MutexLock lock(*port.monitor);
        port.uart.reset();
        port.channel.reset();
    }
}

base::Result<void> SerialPorts::add(const SerialOptions& options, io::IoDispatcher& dispatcher,
                                    irq::InterruptRouter& interrupts, event::EventLoop& loop,
                                    backend::StdioOwner& stdio, Parts& parts) {
    const std::string name = fmt::format("com{}", options.port);
    if (options.irq >= interrupts.gsi_count()) {
        return base::fail("{}: there is no interrupt {}, the last one is {}", name, options.irq,
                          interrupts.gsi_count() - 1);
    }
    CUPULE_TRY_ASSIGN(const backend::ChannelSpec spec, backend::parse_channel(options.backend));
    Port port;
    port.options = options;
    port.monitor = &parts.new_monitor();
    port.line = interrupts.make_level_line({options.irq});
    CUPULE_TRY_ASSIGN(port.channel, backend::open_channel(spec, name, loop, *port.monitor, stdio));
    {
        event::MutexLock lock(*port.monitor);
        port.uart = std::make_unique<device::Uart16550>(*port.line, *port.channel);
    }
    CUPULE_TRY(dispatcher.ports().map_fixed({.base = options.io_base,
                                             .size = uart_ports,
                                             .handler = port.uart.get(),
                                             .monitor = port.monitor,
                                             .name = name}));
    parts.add(name, *port.uart, *port.monitor);
    ports_.push_back(std::move(port));
    return {};
}

std::vector<acpi::SerialPort> SerialPorts::describe() const {
    std::vector<acpi::SerialPort> result;
    for (const Port& port : ports_) {
        result.push_back(
            {.index = port.options.port, .base = port.options.io_base, .irq = port.options.irq});
    }
    return result;
}

}  // namespace cupule::machine
