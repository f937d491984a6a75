#include "device/bridge/host_bridge.h"

namespace cupule::device {
namespace {

pci::Attributes attributes_of(HostBridgeModel model) {
    pci::Attributes attributes{.vendor_id = 0x1275,
                               .device_id = 0x1275,
                               .class_code = pci::class_code::host_bridge,
                               .express = true};
    if (model == HostBridgeModel::amd) {
        attributes.vendor_id = 0x1022;
        attributes.device_id = 0x7432;
    }
    return attributes;
}

}  // namespace

HostBridge::HostBridge(HostBridgeModel model)
    : function_(attributes_of(model)), express_(function_, {.type = pci::ExpressType::root_port}) {}

}  // namespace cupule::device
