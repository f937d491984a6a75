#pragma once

#include <cstddef>
#include <cstdint>
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
    /// All that is negotiated; VERSION_1 among it.
    std::uint64_t features = 0;
    std::uint16_t queues = 1;
    std::uint16_t ring_size = 64;
    /// MSI-X with a vector for each queue, else INTx.
    bool messages = false;
};

/// A guest's generic driver: requests as bytes out and room for an answer, laid out at random (how
/// many buffers, direct or in a table), awaited by looking or by sleeping until the interrupt. What
/// no device may do fails the test there and then. One thread.
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
    /// Resets one queue and starts it again (2.6.1); what was outstanding is forgotten.
    void restart(std::uint16_t queue);

    bool agreed(std::uint64_t feature) const { return (agreement_.features & feature) != 0; }
    const Agreement& agreement() const { return agreement_; }
    memory::GuestMemory& memory() { return *bench_.memory; }
    VirtioPciBench& bench() { return bench_; }

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
        std::unique_ptr<VirtioDriver> driver;
        std::vector<Request> slots;
        std::uint64_t interrupts_seen = 0;
    };
    static constexpr std::uint64_t rings_at = 0x1'0000;
    static constexpr std::uint64_t ring_stride = 0x1'0000;
    static constexpr std::uint64_t slots_at = 2 << 20;
    static constexpr std::uint32_t slots_max = 64;

    void set_up(std::uint16_t queue);
    void enable_messages();
    std::uint64_t interrupts(std::uint16_t queue);
    void cut(std::uint64_t address, std::uint32_t bytes, bool writable,
             std::vector<VirtioDriver::Buffer>& to);
    std::optional<VirtioDriver::Used> look(std::uint16_t queue);

    VirtioPciBench& bench_;
    std::mt19937_64 random_;
    Agreement agreement_;
    std::vector<Queue> queues_;
    std::uint64_t line_interrupts_ = 0;
};

}  // namespace cupule::testing
