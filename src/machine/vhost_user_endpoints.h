#pragma once

#include <string>
#include <string_view>

#include "backend/net_options.h"
#include "machine/pci_device_factories.h"
#include "virtio/pci_transport.h"

namespace cupule::machine {

/// Whether a disk's options name the socket of a back end instead of an image: a word
/// `vhost-user=SOCKET`.
bool names_vhost_user(std::string_view options);

/// `-s N,virtio-blk,[mq=N,]vhost-user=SOCKET[,packed]`; `text` is without the transport's words.
base::Result<std::unique_ptr<Endpoint>> make_vhost_user_blk(const SlotOptions& slot,
                                                            std::string_view text,
                                                            const EndpointContext& context,
                                                            virtio::PciTransportModel model);
/// `-s N,virtio-net,vhost-user=SOCKET[,mac=MAC][,mac_seed=TEXT][,mtu=N]`.
base::Result<std::unique_ptr<Endpoint>> make_vhost_user_net(const SlotOptions& slot,
                                                            const backend::NetOptions& options,
                                                            const backend::MacAddress& mac,
                                                            const EndpointContext& context);
/// `-s N,virtio-fs,vhost-user=SOCKET,tag=TAG[,queues=N][,packed]`.
base::Result<std::unique_ptr<Endpoint>> make_virtio_fs(const SlotOptions& slot,
                                                       const EndpointContext& context);

}  // namespace cupule::machine
