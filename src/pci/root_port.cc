#include "pci/root_port.h"

#include <utility>

namespace cupule::pci {

Attributes RootPort::as_port(Attributes attributes) {
    attributes.class_code = class_code::pci_bridge;
    attributes.header_type = HeaderType::bridge;
    attributes.express = true;
    return attributes;
}

RootPort::RootPort(Attributes attributes, BusSpaces spaces, std::uint8_t port_number,
                   std::uint16_t link)
    : bridge_(as_port(attributes), spaces),
      express_(bridge_.function(),
               {.type = ExpressType::root_port, .port_number = port_number, .link = link}) {}

base::Result<void> RootPort::add(unsigned number, Function& function, event::Monitor& monitor,
                                 std::string name) {
    return bridge_.secondary().add(0, number, function, monitor, std::move(name));
}

}  // namespace cupule::pci
