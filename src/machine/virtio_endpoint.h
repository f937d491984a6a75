#pragma once

#include <memory>
#include <string>
#include <vector>

#include "machine/pci_device_factories.h"
#include "virtio/event_wiring.h"
#include "virtio/pci_transport.h"

namespace cupule::machine {

/// The hypervisor's eventfd services as a transport sees them. A refusal is no failure: the
/// transport does the work itself.
class VmEventWiring : public virtio::EventWiring {
  public:
    explicit VmEventWiring(hypervisor::Vm& vm) : vm_(vm) {}
    bool add_doorbell(const io::Doorbell& doorbell) override;
    void remove_doorbell(const io::Doorbell& doorbell) override;
    bool route(int eventfd, const irq::MsiMessage& message) override;
    void unroute(int eventfd) override;

  private:
    hypervisor::Vm& vm_;
};

/// What all virtio devices on PCI are to the machine. A class for a kind of device adds its workers
/// and back ends and destroys the transport, and with it the device, before them.
class VirtioEndpoint : public Endpoint {
  public:
    explicit VirtioEndpoint(hypervisor::Vm& vm) : wiring(vm) {}
    pci::Function& function() override { return transport->function(); }
    snapshot::Device& device() override { return *transport; }

    std::vector<std::string> statistics(StatisticsDetail detail) const override;

    /// `loop`: whose thread hears the device's events; nullptr: the control thread.
    base::Result<void> connect(std::unique_ptr<virtio::Device> device,
                               const EndpointContext& context,
                               virtio::PciTransportModel model = virtio::PciTransportModel::modern,
                               event::EventLoop* loop = nullptr);

    VmEventWiring wiring;
    std::unique_ptr<virtio::PciTransport> transport;
    /// Who has the queues, where nothing of what they do comes through this process; else empty.
    std::string served_by{};
};

/// A device's queues for people, a line each; with `histograms` one more where there are latencies.
std::vector<std::string> queue_lines(const virtio::Device& device, StatisticsDetail detail);

/// Takes the words `transitional` and `legacy` out of a device's options, wherever they stand
/// behind a comma; the last one holds. `first_too`: the first word is no back end's name.
virtio::PciTransportModel take_transport_model(std::string& options, bool first_too = false);

/// The subsystem vendor of a virtio device by its type: what Windows' signed drivers look for where
/// the guest is Windows and there is such a driver, as in acrn-dm.
std::uint16_t virtio_subsystem_vendor(std::uint16_t type, bool windows);

/// "-s 3:0,virtio-net": for errors.
std::string place_of(const SlotOptions& slot);

}  // namespace cupule::machine
