#pragma once

// The kernel's interface for vhost, linux/vhost.h, as C++ can read it: the legacy part of
// linux/virtio_ring.h, which that includes, is C only.

#define VIRTIO_RING_NO_LEGACY
#include <linux/vhost.h>
#undef VIRTIO_RING_NO_LEGACY
