#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace cupule::backend {

/// What a stream tells its user, on the stream's thread. The user may destroy the stream inside
/// either call.
class HostStreamEvents {
  public:
    virtual ~HostStreamEvents() = default;
    /// Bytes or an end may be there; said again and again as long as it is wanted.
    virtual void stream_readable() = 0;
    virtual void stream_writable() = 0;
};

/// A byte stream to a program of the host, open in both directions. Nothing here waits. On one
/// thread.
class HostStream {
  public:
    struct Read {
        std::size_t bytes = 0;
        /// Nothing follows.
        bool ended = false;
        /// And nobody reads what is written.
        bool closed = false;
    };
    struct Written {
        std::size_t bytes = 0;
        /// Nobody reads any more.
        bool closed = false;
    };

    /// Closes it.
    virtual ~HostStream() = default;
    /// Who hears of it; nobody at first.
    virtual void set_events(HostStreamEvents* events) = 0;
    /// What to tell. Nothing at first.
    virtual void want(bool readable, bool writable) = 0;

    /// Fills `to`, which is not empty, from its start with what is there.
    virtual Read read(std::span<const iovec> to) = 0;
    /// As much of `from`, which is not empty, as there is room for.
    virtual Written write(std::span<const iovec> from) = 0;
    /// No more will be written: the other end reads an end.
    virtual void end_writing() = 0;
    /// No more will be read: the other end finds nobody to write to.
    virtual void end_reading() = 0;
    /// The stream that `connect_wanted` brought now ends at `port` of this side.
    virtual void accepted(std::uint32_t port) = 0;
};

class StreamHostEvents {
  public:
    virtual ~StreamHostEvents() = default;
    /// A program of the host wants to talk to `port` of the other side. Destroying the stream
    /// refuses it.
    virtual void connect_wanted(std::unique_ptr<HostStream> stream, std::uint32_t port) = 0;
};

/// Where streams to programs of the host come from, by port number. On one thread.
class StreamHost {
  public:
    virtual ~StreamHost() = default;
    /// Who hears of calls; with nullptr they are refused.
    virtual void set_events(StreamHostEvents* events) = 0;
    /// To the program that serves `port`, at once; nullptr when there is none.
    virtual std::unique_ptr<HostStream> connect(std::uint32_t port) = 0;
};

}  // namespace cupule::backend
