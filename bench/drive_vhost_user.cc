// The driver of bench/vhost_user: 4 KiB random reads from a vhost-user disk, over our front end, by
// a driver that polls.
//
//     drive_vhost_user SOCKET DEPTH SECONDS      prints reads per second

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "base/assert.h"
#include "base/log.h"
#include "event/system_clock.h"
#include "testing/virtio_driver.h"
#include "vhost_user/front_end.h"
#include "virtio/features.h"
#include "virtio/queue_config.h"

namespace {

using namespace cupule;
using testing::VirtioDriver;

constexpr std::uint64_t block = 4096;
constexpr std::uint64_t ram_bytes = 16 << 20;

class Reader {
  public:
    Reader(const std::string& socket, unsigned depth) : depth_(depth) {
        auto connected = vhost_user::FrontEnd::connect(socket);
        if (!connected) {
            base::log_error("{}", connected.error().message);
            std::exit(1);
        }
        back_end_ = std::move(*connected);
        const auto config = back_end_->read_config(8);
        CUPULE_ASSERT(config.has_value());
        for (unsigned i = 0; i < 8; ++i) {
            blocks_ |= std::uint64_t{(*config)[i]} << (8 * i);
        }
        blocks_ /= block / 512;
        virtio::QueueConfig queue({.size_max = 256});
        const virtio::QueueGeometry& at = driver_.geometry();
        CUPULE_ASSERT(queue.set_area(virtio::QueueArea::descriptors, at.descriptor_area) &&
                      queue.set_area(virtio::QueueArea::driver, at.driver_area) &&
                      queue.set_area(virtio::QueueArea::device, at.device_area));
        auto running = std::move(queue).activate(*memory_, options_.features);
        CUPULE_ASSERT(running.has_value());
        CUPULE_ASSERT(back_end_->set_up({.features = options_.features, .memory = *memory_}));
        CUPULE_ASSERT(back_end_->start_ring({.index = 0,
                                             .queue = std::move(*running),
                                             .kick_fd = kick_.get(),
                                             .call_fd = call_.get()}));
        driver_.disable_interrupts();
    }

    /// Reads per second.
    double run(double seconds) {
        for (std::uint64_t token = 0; token < depth_; ++token) {
            submit(token);
        }
        const event::SystemClock clock;
        const std::uint64_t begin = clock.now_ns();
        const auto end = begin + static_cast<std::uint64_t>(seconds * 1e9);
        std::uint64_t reads = 0;
        std::uint64_t now = begin;
        while (now < end) {
            bool any = false;
            while (const auto used = driver_.collect()) {
                ++reads;
                any = true;
                submit(used->token);
            }
            if (driver_.publish()) {
                base::signal_eventfd(kick_.get());
            }
            if (!any) {
                now = clock.now_ns();
            }
        }
        CUPULE_ASSERT(driver_.violation().empty());
        return static_cast<double>(reads) * 1e9 / static_cast<double>(now - begin);
    }

  private:
    void submit(std::uint64_t token) {
        const std::uint64_t header = 0x10'0000 + token * 64;
        const std::uint64_t data = 0x20'0000 + token * block;
        const std::uint64_t sector = random_() % blocks_ * (block / 512);
        CUPULE_ASSERT(memory_->store<std::uint64_t>({header}, 0) &&
                      memory_->store<std::uint64_t>({header + 8}, sector));
        const std::array<VirtioDriver::Buffer, 3> buffers{
            {{.address = {header}, .length = 16},
             {.address = {data}, .length = block, .writable = true},
             {.address = {header + 32}, .length = 1, .writable = true}}};
        CUPULE_ASSERT(driver_.submit(buffers, token));
    }

    unsigned depth_;
    std::uint64_t blocks_ = 0;
    std::unique_ptr<memory::GuestMemory> memory_ = *memory::GuestMemory::create(
        {.pieces = {{{0}, ram_bytes}}, .huge_pages = memory::HugePages::never, .shared = true});
    VirtioDriver::Options options_{
        .features = virtio::feature::version_1 | virtio::feature::event_idx,
        .size = 256,
        .base = {0x1'0000}};
    VirtioDriver driver_{*memory_, options_};
    base::FileDescriptor kick_ = *base::make_eventfd();
    base::FileDescriptor call_ = *base::make_eventfd();
    std::mt19937_64 random_{7};
    std::unique_ptr<vhost_user::FrontEnd> back_end_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fputs("usage: drive_vhost_user SOCKET DEPTH SECONDS\n", stderr);
        return 64;
    }
    Reader reader(argv[1], static_cast<unsigned>(std::atoi(argv[2])));
    std::printf("%.0f\n", reader.run(std::atof(argv[3])));
    return 0;
}
