#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "backend/console_options.h"
#include "backend/terminal_size.h"
#include "device/serial/virtio_console.h"
#include "event/worker.h"
#include "machine/virtio_endpoint.h"
#include "machine/virtio_endpoints.h"

namespace cupule::machine {
namespace {

/// A worker with a channel for each port.
class ConsoleEndpoint : public VirtioEndpoint {
  public:
    explicit ConsoleEndpoint(hypervisor::Vm& vm) : VirtioEndpoint(vm) {}
    ~ConsoleEndpoint() override {
        if (worker) {
            worker->call([this] { size.reset(); });
        }
        transport.reset();
        if (worker) {
            worker->call([this] { channels.clear(); });
        }
    }

    base::Result<void> open(const std::vector<backend::ConsolePortOptions>& ports,
                            const SlotOptions& slot, backend::StdioOwner& stdio) {
        // The host shows 15 bytes: "console 31:7".
        CUPULE_TRY_ASSIGN(
            worker, event::Worker::create(fmt::format("console {}:{}", slot.slot, slot.function)));
        return worker->call([&]() -> base::Result<void> {
            for (const backend::ConsolePortOptions& port : ports) {
                CUPULE_TRY_ASSIGN(auto channel,
                                  backend::open_channel(port.channel, port.name, worker->loop(),
                                                        worker->monitor(), stdio));
                channels.push_back(std::move(channel));
            }
            return {};
        });
    }

    /// Console ports on standard input have its size.
    base::Result<void> follow_size(device::VirtioConsole& console) {
        return worker->call([&]() -> base::Result<void> {
            const auto follow = [&console](std::uint16_t columns, std::uint16_t rows) {
                console.resize(columns, rows);
            };
            CUPULE_TRY_ASSIGN(size, backend::TerminalSize::watch(STDIN_FILENO, worker->loop(),
                                                                 worker->monitor(), follow));
            return {};
        });
    }

    std::unique_ptr<event::Worker> worker;
    std::vector<std::unique_ptr<backend::ByteChannel>> channels;
    std::unique_ptr<backend::TerminalSize> size;
};

}  // namespace

base::Result<std::unique_ptr<Endpoint>> make_virtio_console(const SlotOptions& slot,
                                                            const EndpointContext& context) {
    std::string words = slot.options;
    const virtio::PciTransportModel model = take_transport_model(words);
    const auto options = backend::parse_console_ports(words);
    if (!options) {
        return std::unexpected(options.error().in(place_of(slot)));
    }
    auto endpoint = std::make_unique<ConsoleEndpoint>(context.vm);
    if (const auto opened = endpoint->open(*options, slot, context.stdio); !opened) {
        return std::unexpected(opened.error().in(place_of(slot)));
    }
    std::vector<device::ConsolePortPowers> ports;
    bool terminal = false;
    for (std::size_t i = 0; i < options->size(); ++i) {
        const backend::ConsolePortOptions& port = (*options)[i];
        ports.push_back({.spec = {.name = port.name, .console = port.console},
                         .channel = *endpoint->channels[i]});
        terminal = terminal || (port.console && port.channel.kind == backend::ChannelKind::stdio);
    }
    auto console = std::make_unique<device::VirtioConsole>(ports, *endpoint->worker);
    device::VirtioConsole& device = *console;
    CUPULE_TRY(endpoint->connect(std::move(console), context, model));
    if (terminal && isatty(STDIN_FILENO) == 1) {
        CUPULE_TRY(endpoint->follow_size(device));
    }
    return endpoint;
}

}  // namespace cupule::machine
