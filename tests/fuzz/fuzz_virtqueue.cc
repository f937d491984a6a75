// Any bytes as a driver: they write the rings and choose what the device does meanwhile. After each
// input a well-behaved driver resets the queue, and one good request must get through.

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/assert.h"
#include "input.h"
#include "memory/guest_memory.h"
#include "testing/virtio_driver.h"
#include "testing/virtio_workload.h"
#include "virtio/features.h"
#include "virtio/queue_config.h"

namespace {

using namespace cupule;
using fuzz::Input;
using testing::VirtioDriver;
using testing::VirtioWorkload;

constexpr std::uint64_t ram_size = 256 << 10;
constexpr std::uint64_t hole_end = std::uint64_t{1} << 32;
constexpr std::uint16_t segments_max = 64;

class Session {
  public:
    Session(const memory::GuestMemory& memory, Input& input) : memory_(memory), input_(input) {
        const auto choice = input.take<std::uint8_t>();
        options_.features = ((choice & 1) != 0 ? virtio::feature::ring_packed : 0) |
                            ((choice & 2) != 0 ? virtio::feature::event_idx : 0) |
                            ((choice & 4) != 0 ? virtio::feature::in_order : 0) |
                            ((choice & 8) != 0 ? virtio::feature::indirect_desc : 0);
        options_.size = static_cast<std::uint16_t>(1 << (choice >> 4 & 3));
        options_.base = {0x1000};
        driver_ = std::make_unique<VirtioDriver>(memory_, options_);
        start();
    }

    ~Session() {
        for (virtio::Chain& chain : held_) {
            chain.abandon();
        }
    }

    void run() {
        while (!input_.empty()) {
            step(input_.take<std::uint8_t>());
            CUPULE_ASSERT(queue_->in_flight() == held_.size());
            CUPULE_ASSERT(held_.size() <= options_.size);
        }
    }

    void one_good_request() {
        VirtioDriver driver(memory_, options_);
        driver_ = nullptr;
        start(driver);
        VirtioWorkload workload(memory_, driver, options_, {0x2'0000}, 1);
        while (!workload.submit()) {
        }
        driver.publish();
        virtio::Chain chain = queue_->pop();
        CUPULE_ASSERT(chain);
        const std::uint32_t written = testing::answer_request(chain);
        static_cast<void>(queue_->complete(std::move(chain), written));
        CUPULE_ASSERT(workload.collect() == 1 && workload.problem().empty());
    }

  private:
    void start() { start(*driver_); }

    void start(const VirtioDriver& driver) {
        const virtio::QueueGeometry& at = driver.geometry();
        virtio::QueueConfig config({.size_max = options_.size, .segments_max = segments_max});
        CUPULE_ASSERT(config.set_area(virtio::QueueArea::descriptors, at.descriptor_area) &&
                      config.set_area(virtio::QueueArea::driver, at.driver_area) &&
                      config.set_area(virtio::QueueArea::device, at.device_area));
        for (virtio::Chain& chain : held_) {
            chain.abandon();
        }
        held_.clear();
        auto started = std::move(config).activate(memory_, options_.features);
        CUPULE_ASSERT(started.has_value());
        queue_ = std::make_unique<virtio::Queue>(std::move(*started));
    }

    void pop() {
        const bool was_broken = queue_->broken();
        virtio::Chain chain = queue_->pop();
        if (!chain) {
            return;
        }
        CUPULE_ASSERT(!was_broken);
        for (const auto half : {chain.readable(), chain.writable()}) {
            for (const iovec& segment : half) {
                CUPULE_ASSERT(segment.iov_len > 0 && inside_ram(segment));
            }
        }
        held_.push_back(std::move(chain));
    }

    bool inside_ram(const iovec& segment) const {
        return std::ranges::any_of(memory_.regions(), [&](const memory::RamRegion& region) {
            const auto* const start = static_cast<const std::byte*>(segment.iov_base);
            return start >= region.host && start < region.host + region.size &&
                   segment.iov_len <= region.size - static_cast<std::size_t>(start - region.host);
        });
    }

    void push(std::uint8_t choice) {
        if (held_.empty()) {
            return;
        }
        const std::size_t index = choice % held_.size();
        virtio::Chain chain = std::move(held_[index]);
        held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
        const std::uint32_t written = testing::answer_request(chain);
        queue_->push_used(std::move(chain), written);
    }

    void write_rings() {
        const auto offset = input_.take<std::uint16_t>();
        const auto size = input_.take<std::uint8_t>();
        // Past the rings lie tables and buffers.
        static_cast<void>(memory_.write(options_.base + offset % 0x6000, input_.bytes(size % 65)));
    }

    void step(std::uint8_t action) {
        switch (action % 8) {
            case 0:
            case 1:
                return write_rings();
            case 2:
            case 3:
                return pop();
            case 4:
                return push(action >> 3);
            case 5:
                return static_cast<void>(queue_->publish());
            case 6:
                return static_cast<void>(queue_->enable_notifications());
            default:
                break;
        }
        if (action == 0xFF) {
            start();
        } else {
            queue_->disable_notifications();
        }
    }

    const memory::GuestMemory& memory_;
    Input& input_;
    VirtioDriver::Options options_;
    std::unique_ptr<VirtioDriver> driver_;
    std::unique_ptr<virtio::Queue> queue_;
    std::vector<virtio::Chain> held_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::unique_ptr<memory::GuestMemory> memory =
        *memory::GuestMemory::create({.pieces = {{{0}, ram_size}, {{hole_end}, ram_size}},
                                      .huge_pages = memory::HugePages::never});
    Input input(data, size);
    Session session(*memory, input);
    session.run();
    session.one_good_request();
    return 0;
}
