#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/receive_steering.h"

namespace cupule::backend {

/// What stands in front of every frame, both ways: struct virtio_net_hdr_v1 (Virtio 1.3, 5.1.6),
/// little-endian. `buffers` is the device's; ports write 0 and do not read it.
struct NetHeader {
    std::uint8_t flags = 0;
    std::uint8_t gso_type = 0;
    std::uint16_t header_length = 0;
    std::uint16_t gso_size = 0;
    std::uint16_t checksum_start = 0;
    std::uint16_t checksum_offset = 0;
    std::uint16_t buffers = 0;

    bool operator==(const NetHeader&) const = default;
};
static_assert(sizeof(NetHeader) == 12);

/// Work on frames that one end leaves to the other.
struct NetOffloads {
    bool checksum = false;  // the checksum is left open, or known to be good
    bool tso4 = false;      // TCP segments of up to 64 KiB, to be cut
    bool tso6 = false;
    bool tso_ecn = false;  // such segments with ECN
    bool uso = false;      // UDP, both address families

    bool operator==(const NetOffloads&) const = default;
};

/// The longest frame with its header that any port takes or gives: a 64 KiB segment with Ethernet
/// header and two VLAN tags.
inline constexpr std::size_t net_frame_bytes_max = sizeof(NetHeader) + 65'550 + 8;

/// What a port tells its device. On the worker's thread, never inside a call of the port.
class NetPortEvents {
  public:
    virtual ~NetPortEvents() = default;
    /// Frames may be there (see NetPort::want_frames).
    virtual void frames_came() = 0;
    /// A `send` that was busy may succeed now.
    virtual void room_came() = 0;
    virtual void link_changed(bool up) = 0;
};

/// The host side of one queue pair of a network card: a wire for Ethernet frames. Everything on the
/// thread of the worker that it was opened for, which also destroys it; no call waits. A port works
/// from its opening on; while no one listens, what comes is dropped or kept within bounds.
class NetPort {
  public:
    enum class Sent : std::uint8_t {
        done,  // sent, or lost as wires lose frames
        busy,  // not taken: `room_came` follows
    };

    virtual ~NetPort() = default;
    /// What it takes from a guest in `send`, and what it can be asked to give in `receive`.
    virtual NetOffloads offloads() const { return {}; }
    /// What the guest takes in `receive`, part of `offloads`; none at first.
    virtual void set_receive_offloads(const NetOffloads& /*offloads*/) {}
    /// A pair that the guest does not use gets no frames (multiqueue).
    virtual void set_attached(bool /*attached*/) {}
    /// Whether `steer` can work, which never changes.
    virtual bool can_steer() const { return false; }
    /// To the first port of a back end, for all of them: frames come in by these rules, which name
    /// ports by their numbers and attach them; nullptr: by the back end's own. False when the host
    /// refuses, and nothing has changed.
    virtual bool steer(const ReceiveSteering* /*rules*/) { return false; }
    virtual bool link_up() const = 0;

    /// One frame: the first piece is its NetHeader alone and the caller's own, the others may be
    /// guest memory: copied or given to the kernel, never decided by twice.
    virtual Sent send(std::span<const iovec> frame) = 0;
    /// A batch of sends has ended.
    virtual void flush() {}
    /// The next frame with its NetHeader into `to`; its length, 0 when there is none. One that is
    /// longer than `to` is cut.
    virtual std::size_t receive(std::span<const iovec> to) = 0;
    /// Whether `frames_came` is called while frames are there. Off at first.
    virtual void want_frames(bool wanted) = 0;
    /// nullptr: nobody listens, and no frames are wanted.
    virtual void set_events(NetPortEvents* events) = 0;
};

}  // namespace cupule::backend
