#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "testing/virtio_driver.h"
#include "virtio/descriptor_chain.h"

namespace cupule::testing {

/// The device's half of the data oracle: reads the whole readable half and fills a part of the
/// writable half, both decided by the bytes it read. Returns how many bytes it wrote.
std::uint32_t answer_request(const virtio::Chain& chain);

/// The driver's half: random requests, cut into random buffers of random shapes, whose answers are
/// compared byte for byte with what `answer_request` must have written, and whose other bytes must
/// not have changed. Repeatable by its seed.
class VirtioWorkload {
  public:
    static constexpr std::uint32_t request_bytes = 512;

    /// Uses size × request_bytes of memory from `data` on.
    VirtioWorkload(const memory::GuestMemory& memory, VirtioDriver& driver,
                   const VirtioDriver::Options& options, memory::GuestAddress data,
                   std::uint64_t seed);

    /// Submits one request; false when the ring or the data area is full.
    bool submit();
    /// Collects and checks what is used; returns how many requests that was.
    std::uint32_t collect();

    /// Forgets what is outstanding, after the ring was reset.
    void reset();

    std::uint64_t submitted() const { return submitted_; }
    std::uint64_t finished() const { return finished_; }
    /// The first thing that was wrong, empty when nothing was.
    const std::string& problem() const { return problem_; }

  private:
    struct Request {
        std::uint32_t readable = 0;
        std::uint32_t writable = 0;
        std::uint64_t digest = 0;
    };
    std::uint32_t random(std::uint32_t below) {
        return static_cast<std::uint32_t>(random_() % below);
    }
    std::vector<VirtioDriver::Buffer> cut(memory::GuestAddress address, std::uint32_t bytes,
                                          std::uint32_t pieces, bool writable);
    void verify(std::uint64_t token, std::uint32_t written);

    const memory::GuestMemory& memory_;
    VirtioDriver& driver_;
    VirtioDriver::Options options_;
    memory::GuestAddress data_;
    std::mt19937_64 random_;
    std::vector<Request> requests_;
    std::vector<std::uint32_t> free_;
    std::uint64_t submitted_ = 0;
    std::uint64_t finished_ = 0;
    std::string problem_;
};

}  // namespace cupule::testing
