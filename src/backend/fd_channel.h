#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/byte_channel.h"
#include "base/file_descriptor.h"
#include "event/event_loop.h"

namespace cupule::backend {

/// What all channels on file descriptors share. Input is watched only while the device has room.
/// Output collects in a buffer that goes out `output_delay_ns` after its first byte or when
/// `flush_size` bytes are there, so that a guest that prints byte by byte costs one system call
/// for many bytes. Files that epoll refuses (regular files, /dev/null) count as always ready.
///
/// The process must ignore SIGPIPE: a pipe whose reader left is then an error here, not the end.
/// The destructor gives the remaining output at most `last_flush_ms` to leave.
class FdChannel : public ByteChannel {
  public:
    static constexpr std::size_t output_size_max = std::size_t{16} * 1024;
    static constexpr std::size_t flush_size = std::size_t{4} * 1024;
    static constexpr std::uint64_t output_delay_ns = 500 * event::ns_per_us;
    static constexpr int last_flush_ms = 200;

    /// `name` stands in log lines. `monitor` is the device's; loop and monitor outlive the channel.
    FdChannel(event::EventLoop& loop, event::Monitor& monitor, std::string name);
    ~FdChannel() override;
    FdChannel(const FdChannel&) = delete;
    FdChannel& operator=(const FdChannel&) = delete;

    std::size_t read(std::span<std::uint8_t> to) override;
    std::size_t write(std::span<const std::uint8_t> from) override;
    bool connected() const override { return input_.fd || output_.fd; }
    void set_events(ByteChannelEvents* events) override;

  protected:
    /// What the end of one direction means: nothing for the other (a pipe each way), or the end of
    /// both (one socket or terminal).
    enum class Ending : std::uint8_t { each_way, both_ways };

    /// Starts on open descriptors in place of the ones before; either may be empty. Non-blocking,
    /// except for sockets and regular files, which need not be.
    base::Result<void> attach(base::FileDescriptor input, base::FileDescriptor output,
                              Ending ending);
    /// One descriptor for both directions; a failed one detaches both.
    base::Result<void> attach_both_ways(base::FileDescriptor both);
    /// Closes both descriptors and drops unsent output.
    void detach();
    /// Sends what is buffered as far as the descriptor takes it now.
    void flush();
    /// Tells the device of a connection or its end. On the event loop only.
    void announce(bool now_connected);

    /// Looks at bytes that came, keeps those for the device at the front and returns their count.
    /// Called inside the device's `read`: must not call the device.
    virtual std::size_t filter_input(std::span<std::uint8_t> bytes) { return bytes.size(); }
    /// The other end is gone and the channel is detached (Ending::both_ways). On the event loop.
    virtual void hung_up() { announce(false); }
    /// Another word for the device follows the bytes of the `read` under way (see request_news).
    virtual void news() {}
    /// Asks for `news` on the event loop, outside any call of the device.
    void request_news();

    event::EventLoop& loop() { return loop_; }
    event::Monitor& monitor() { return monitor_; }
    ByteChannelEvents* events() { return events_; }
    const std::string& name() const { return name_; }

  private:
    struct Direction {
        base::FileDescriptor fd;
        bool socket = false;
        bool armed = false;
        /// None where the descriptor is always ready. Destroyed before the descriptor is closed.
        std::unique_ptr<event::FdWatch> watch;

        void arm(std::uint32_t epoll_events);
        void pause();
        void close();
    };

    base::Result<void> watch(Direction& direction, event::EventLoop::FdCallback callback);
    void arm_input();
    void on_input();
    void on_output();
    void on_news();
    void tell_writable();
    std::size_t append(std::span<const std::uint8_t> from);
    std::size_t unsent() const { return output_buffer_.size() - output_sent_; }
    bool send_once();
    void end_input(int error);
    void end_output(int error);
    void end_both();

    event::EventLoop& loop_;
    event::Monitor& monitor_;
    const std::string name_;
    ByteChannelEvents* events_ = nullptr;
    Ending ending_ = Ending::each_way;
    Direction input_;
    Direction output_;
    /// Bytes from `output_sent_` on are still to go; at most output_size_max.
    std::vector<std::uint8_t> output_buffer_;
    std::size_t output_sent_ = 0;
    /// The device asked and got less: it is owed `writable`.
    bool writable_owed_ = false;
    bool readable_owed_ = false;
    bool hang_up_owed_ = false;
    bool read_called_ = false;
    std::unique_ptr<event::Timer> flush_timer_;
    /// Due at once: carries news out of calls of the device onto the loop.
    std::unique_ptr<event::Timer> news_timer_;
};

}  // namespace cupule::backend
