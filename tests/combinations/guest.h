#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "testing/virtio_driver.h"
#include "testing/virtio_pci_bench.h"

namespace cupule::testing {

/// What a driver and a device agree on, and how the driver goes about it.
struct Agreement {
    /// All that is negotiated. Without VERSION_1 the driver is one of the legacy interface.
    std::uint64_t features = 0;
    std::uint16_t queues = 1;
    /// A legacy driver has the device's instead.
    std::uint16_t ring_size = 64;
    /// MSI-X with a vector for each queue, else INTx.
    bool messages = false;
};

/// A guest's generic driver, of either interface: requests as bytes out and room for an answer,
/// laid out at random (how many buffers, direct or in a table), awaited by looking or by sleeping
/// until the interrupt. What no device may do fails the test there and then. One thread.
class Guest {
  public:
    /// A request that came back.
    struct Answer {
        /// What `ask` gave.
        std::uint64_t token = 0;
        /// As many bytes as the used ring says were written.
        std::vector<std::byte> bytes{};
    };
    static constexpr std::uint64_t slot_bytes = 0x2000;

    Guest(VirtioPciBench& bench, std::uint64_t seed) : bench_(bench), random_(seed) {}

    /// Reset to DRIVER_OK.
    void start(const Agreement& agreement);
    /// Resets one queue and starts it again (2.6.1), or as a legacy driver takes it back; what was
    /// outstanding is forgotten. Only if `can_restart`.
    void restart(std::uint16_t queue);
    bool can_restart() const;
    std::uint8_t status();
    /// What the status is while the device runs.
    std::uint8_t running_status() const;
    void reset() { set_status(0); }

    bool agreed(std::uint64_t feature) const { return (agreement_.features & feature) != 0; }
    bool legacy() const;
    const Agreement& agreement() const { return agreement_; }
    memory::GuestMemory& memory() { return *bench_.memory; }
    /// Of the device's own configuration area.
    std::uint64_t read_config(std::uint64_t offset, unsigned size);
    /// Waits for the work of other threads and of the loop; false when it does not come to `done`.
    bool await(const std::function<bool()>& done);

    /// A random number below `below`.
    std::uint32_t random(std::uint32_t below) {
        return static_cast<std::uint32_t>(random_() % below);
    }
    std::vector<std::byte> random_bytes(std::size_t count);

    /// A request in one of the queue's slots, both parts together at most slot_bytes; its token.
    /// Nothing when the ring has no room for it now. The device hears of it by `kick`.
    std::optional<std::uint64_t> ask(std::uint16_t queue, std::span<const std::byte> out,
                                     std::uint32_t in_bytes);
    /// The same with buffers of the caller's; the answer has no bytes.
    bool ask_with(std::uint16_t queue, std::span<const VirtioDriver::Buffer> buffers);
    /// Makes the last requests available, and rings where the device asked for that.
    void kick(std::uint16_t queue);
    /// The next answer; silence is a failure of the test.
    Answer wait(std::uint16_t queue);
    /// One that is there already.
    std::optional<Answer> look_for_answer(std::uint16_t queue);
    /// `ask`, `kick` and `wait` where nothing else is outstanding.
    std::vector<std::byte> request(std::uint16_t queue, std::span<const std::byte> out,
                                   std::uint32_t in_bytes);
    std::uint32_t outstanding(std::uint16_t queue) const {
        return queues_[queue].driver->outstanding();
    }

  private:
    struct Request {
        std::uint64_t answer_at = 0;
        std::uint32_t in_bytes = 0;
        bool pending = false;
    };
    struct Queue {
        VirtioDriver::Options ring;
        std::unique_ptr<VirtioDriver> driver;
        std::vector<Request> slots;
        std::uint64_t interrupts_seen = 0;
    };
    /// Rings, and behind them the slots of all queues.
    static constexpr std::uint64_t rings_at = 0x1'0000;
    static constexpr std::uint64_t slots_end = 7 << 20;
    static constexpr std::uint32_t slots_max = 64;

    void set_status(std::uint8_t value);
    std::uint64_t offered();
    bool negotiate();
    void lay_out();
    void set_up(std::uint16_t queue);
    void set_legacy_queue(std::uint16_t queue);
    void restart_legacy(std::uint16_t queue);
    void enable_messages();
    bool line_interrupted();
    std::uint64_t interrupts(std::uint16_t queue);
    void cut(std::uint64_t address, std::uint32_t bytes, bool writable,
             std::vector<VirtioDriver::Buffer>& to);
    std::optional<VirtioDriver::Used> look(std::uint16_t queue);
    Answer finish(std::uint16_t queue, const VirtioDriver::Used& used);

    VirtioPciBench& bench_;
    std::mt19937_64 random_;
    Agreement agreement_;
    std::vector<Queue> queues_;
    std::uint64_t slots_at_ = 0;
    /// Each queue's.
    std::uint32_t slots_ = 0;
    std::uint64_t line_interrupts_ = 0;
};

}  // namespace cupule::testing
