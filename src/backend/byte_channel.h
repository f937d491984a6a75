#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cupule::backend {

/// What a channel tells its device. Called on the event loop with the device's monitor held.
class ByteChannelEvents {
  public:
    virtual ~ByteChannelEvents() = default;
    /// Bytes have come: the device reads as many as it has room for.
    virtual void readable() = 0;
    /// There is room again after a `write` that took less than it was given.
    virtual void writable() = 0;
    /// The other end came or went (sockets, pty); a file or terminal is always connected.
    virtual void connection_changed(bool /*connected*/) {}
    /// The other end holds the line at space for longer than a character: a break.
    virtual void break_received() {}
};

/// The host side of a serial port or console: a stream of bytes both ways. All calls with the
/// device's monitor held; none blocks.
class ByteChannel {
  public:
    virtual ~ByteChannel() = default;
    /// Takes bytes from the other end, at most `to.size()`. When it gives less, `readable` follows
    /// when more come; when it gives all asked for, the device reads again once it has room.
    virtual std::size_t read(std::span<std::uint8_t> to) = 0;
    /// Gives bytes to the other end and returns how many were taken. Less than all: `writable`
    /// follows. With nobody connected everything is taken and dropped, as on an open wire.
    virtual std::size_t write(std::span<const std::uint8_t> from) = 0;
    virtual bool connected() const = 0;
    /// Who hears of changes; nullptr for nobody. The listener outlives the channel or is taken off.
    virtual void set_events(ByteChannelEvents* events) = 0;
};

}  // namespace cupule::backend
