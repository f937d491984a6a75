// The driver of bench/vhost_net: sends frames to a vhost-user network card that sends them back,
// over our front end, by a driver that polls.
//
//     drive_vhost_net SOCKET BYTES SECONDS      prints frames per second that came back

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/assert.h"
#include "base/log.h"
#include "device/network/virtio_net_registers.h"
#include "event/system_clock.h"
#include "testing/virtio_driver.h"
#include "vhost_user/front_end.h"
#include "virtio/features.h"
#include "virtio/queue_config.h"

namespace {

using namespace cupule;
using testing::VirtioDriver;

constexpr std::uint64_t ram_bytes = 16 << 20;
constexpr std::uint16_t ring_size = 256;
constexpr std::uint32_t header_bytes = 12;
constexpr std::uint32_t buffer_bytes = 2048;
constexpr std::uint64_t receive_buffers = 0x40'0000;
constexpr std::uint64_t transmit_buffers = 0x80'0000;
/// Less than the ring of the back end takes of what comes back.
constexpr unsigned on_the_wire_max = 128;
constexpr std::uint64_t features =
    virtio::feature::version_1 | virtio::feature::event_idx | device::net::feature::mrg_rxbuf;

/// One ring with its bells.
struct Ring {
    Ring(const memory::GuestMemory& memory, std::uint64_t base)
        : driver(memory, {.features = features, .size = ring_size, .base = {base}}) {}

    void start(vhost_user::FrontEnd& back_end, const memory::GuestMemory& memory,
               std::uint16_t index) {
        virtio::QueueConfig queue({.size_max = ring_size});
        const virtio::QueueGeometry& at = driver.geometry();
        CUPULE_ASSERT(queue.set_area(virtio::QueueArea::descriptors, at.descriptor_area) &&
                      queue.set_area(virtio::QueueArea::driver, at.driver_area) &&
                      queue.set_area(virtio::QueueArea::device, at.device_area));
        auto running = std::move(queue).activate(memory, features);
        CUPULE_ASSERT(running.has_value());
        CUPULE_ASSERT(back_end.start_ring({.index = index,
                                           .queue = std::move(*running),
                                           .kick_fd = kick.get(),
                                           .call_fd = call.get()}));
        driver.disable_interrupts();
    }
    void submit(std::uint64_t address, std::uint32_t bytes, bool writable) {
        const VirtioDriver::Buffer buffer{
            .address = {address}, .length = bytes, .writable = writable};
        CUPULE_ASSERT(driver.submit({&buffer, 1}, address));
    }
    void publish() {
        if (driver.publish()) {
            base::signal_eventfd(kick.get());
        }
    }

    VirtioDriver driver;
    base::FileDescriptor kick = *base::make_eventfd();
    base::FileDescriptor call = *base::make_eventfd();
};

class Card {
  public:
    Card(const std::string& socket, std::uint32_t frame_bytes)
        : bytes_(header_bytes + frame_bytes) {
        auto connected = vhost_user::FrontEnd::connect(socket);
        if (!connected) {
            base::log_error("{}", connected.error().message);
            std::exit(1);
        }
        back_end_ = std::move(*connected);
        CUPULE_ASSERT(back_end_->set_up({.features = features, .memory = *memory_}));
        for (std::uint64_t i = 0; i < ring_size; ++i) {
            receive_.submit(receive_buffers + i * buffer_bytes, buffer_bytes, true);
        }
        receive_.start(*back_end_, *memory_, 0);
        transmit_.start(*back_end_, *memory_, 1);
        receive_.publish();
    }

    /// Frames per second.
    double run(double seconds) {
        for (std::uint64_t i = 0; i < on_the_wire_max; ++i) {
            const std::uint64_t frame = transmit_buffers + i * buffer_bytes;
            // To everyone, of a local experimental type: nobody on the way has reason to drop it.
            CUPULE_ASSERT(memory_->fill({frame + header_bytes}, std::byte{0xFF}, 6) &&
                          memory_->store<std::uint16_t>({frame + header_bytes + 12}, 0xB588));
            transmit_.submit(frame, bytes_, false);
        }
        transmit_.publish();
        const event::SystemClock clock;
        const std::uint64_t begin = clock.now_ns();
        const auto end = begin + static_cast<std::uint64_t>(seconds * 1e9);
        std::uint64_t frames = 0;
        std::uint64_t now = begin;
        while (now < end) {
            const std::uint64_t before = frames;
            while (const auto used = receive_.driver.collect()) {
                CUPULE_ASSERT(used->written == bytes_);
                ++frames;
                receive_.submit(used->token, buffer_bytes, true);
            }
            receive_.publish();
            while (const auto used = transmit_.driver.collect()) {
                transmit_.submit(used->token, bytes_, false);
            }
            transmit_.publish();
            now = frames == before ? clock.now_ns() : now;
        }
        CUPULE_ASSERT(receive_.driver.violation().empty() && transmit_.driver.violation().empty());
        return static_cast<double>(frames) * 1e9 / static_cast<double>(now - begin);
    }

  private:
    std::uint32_t bytes_;
    std::unique_ptr<memory::GuestMemory> memory_ = *memory::GuestMemory::create(
        {.pieces = {{{0}, ram_bytes}}, .huge_pages = memory::HugePages::never, .shared = true});
    Ring receive_{*memory_, 0x1'0000};
    Ring transmit_{*memory_, 0x10'0000};
    std::unique_ptr<vhost_user::FrontEnd> back_end_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fputs("usage: drive_vhost_net SOCKET BYTES SECONDS\n", stderr);
        return 64;
    }
    Card card(argv[1], static_cast<std::uint32_t>(std::atoi(argv[2])));
    std::printf("%.0f\n", card.run(std::atof(argv[3])));
    return 0;
}
