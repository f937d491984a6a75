#include "machine/virtio_endpoint.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"

namespace cupule::machine {

bool VmEventWiring::add_doorbell(const io::Doorbell& doorbell) {
    return vm_.add_doorbell(doorbell).has_value();
}

void VmEventWiring::remove_doorbell(const io::Doorbell& doorbell) {
    vm_.remove_doorbell(doorbell);
}

bool VmEventWiring::route(int eventfd, const irq::MsiMessage& message) {
    return vm_.route_message(eventfd, message).has_value();
}

void VmEventWiring::unroute(int eventfd) {
    vm_.unroute(eventfd);
}

base::Result<void> VirtioEndpoint::connect(std::unique_ptr<virtio::Device> device,
                                           const EndpointContext& context,
                                           virtio::PciTransportModel model,
                                           event::EventLoop* loop) {
    const std::uint16_t subsystem_vendor_id =
        virtio_subsystem_vendor(device->id().type, context.options.windows);
    CUPULE_TRY_ASSIGN(transport,
                      virtio::PciTransport::create(std::move(device),
                                                   {.memory = context.memory,
                                                    .loop = loop != nullptr ? *loop : context.loop,
                                                    .monitor = context.monitor,
                                                    .messages = context.vm,
                                                    .wiring = &wiring,
                                                    .msi_only = context.options.virtio_msi_only,
                                                    .model = model,
                                                    .subsystem_vendor_id = subsystem_vendor_id}));
    return {};
}

std::uint16_t virtio_subsystem_vendor(std::uint16_t type, bool windows) {
    constexpr std::uint16_t oracle_vendor_id = 0x108E;
    // Virtio 1.3, 5: network card, block device, input device.
    const bool has_signed_driver = type == 1 || type == 2 || type == 18;
    return windows && has_signed_driver ? oracle_vendor_id : virtio::pci_layout::vendor_id;
}

std::vector<std::string> VirtioEndpoint::statistics(StatisticsDetail detail) const {
    if (!served_by.empty()) {
        return {fmt::format("served by {}: nothing of its queues is counted here", served_by)};
    }
    return queue_lines(transport->device(), detail);
}

std::vector<std::string> queue_lines(const virtio::Device& device, StatisticsDetail detail) {
    std::vector<std::string> lines;
    for (const virtio::QueueReport& report : device.report()) {
        lines.push_back(report.to_text());
        if (std::string all = report.histogram_text();
            detail == StatisticsDetail::histograms && !all.empty()) {
            lines.push_back(std::move(all));
        }
    }
    return lines;
}

virtio::PciTransportModel take_transport_model(std::string& options, bool first_too) {
    auto model = virtio::PciTransportModel::modern;
    std::string others;
    unsigned kept = 0;
    // The first word is the back end's name, whatever it reads.
    const std::vector<std::string_view> words = base::split(options, ',');
    for (const std::string_view word : words) {
        const bool is_first = word.data() == words.front().data();
        if ((!is_first || first_too) && (word == "transitional" || word == "legacy")) {
            model = word == "legacy" ? virtio::PciTransportModel::legacy
                                     : virtio::PciTransportModel::transitional;
        } else {
            others += kept++ == 0 ? "" : ",";
            others += word;
        }
    }
    options = std::move(others);
    return model;
}

std::string place_of(const SlotOptions& slot) {
    return fmt::format("-s {}:{},{}", slot.slot, slot.function, slot.device);
}

}  // namespace cupule::machine
