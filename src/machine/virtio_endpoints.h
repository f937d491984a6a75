#pragma once

#include "machine/pci_device_factories.h"

namespace cupule::machine {

/// `-s N,vhost-vsock,cid=CID`.
base::Result<std::unique_ptr<Endpoint>> make_vhost_vsock(const SlotOptions& slot,
                                                         const EndpointContext& context);
/// `-s N,virtio-balloon[,inflate=MIB][,stats=SECONDS][,no_deflate_on_oom][,no_reporting]`.
base::Result<std::unique_ptr<Endpoint>> make_virtio_balloon(const SlotOptions& slot,
                                                            const EndpointContext& context);
/// `-s N,virtio-blk,PATH[,OPTION...]`.
base::Result<std::unique_ptr<Endpoint>> make_virtio_blk(const SlotOptions& slot,
                                                        const EndpointContext& context);
/// `-s N,virtio-console,PORT[,PORT...]` (backend/console_options.h).
base::Result<std::unique_ptr<Endpoint>> make_virtio_console(const SlotOptions& slot,
                                                            const EndpointContext& context);
/// `-s N,virtio-net,BACKEND[,OPTION...]` (backend/net_options.h).
base::Result<std::unique_ptr<Endpoint>> make_virtio_net(const SlotOptions& slot,
                                                        const EndpointContext& context);
/// `-s N,virtio-rnd`.
base::Result<std::unique_ptr<Endpoint>> make_virtio_rnd(const SlotOptions& slot,
                                                        const EndpointContext& context);
/// `-s N,virtio-vsock,cid=CID,uds=PATH`.
base::Result<std::unique_ptr<Endpoint>> make_virtio_vsock(const SlotOptions& slot,
                                                          const EndpointContext& context);

}  // namespace cupule::machine
