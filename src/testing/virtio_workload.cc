#include "testing/virtio_workload.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "base/assert.h"
#include "base/bits.h"
#include "virtio/features.h"

namespace cupule::testing {
namespace {

constexpr std::byte untouched{0xC5};

std::uint64_t digest_of(std::span<const std::byte> bytes) {
    std::uint64_t digest = 0xCBF2'9CE4'8422'2325;
    for (const std::byte byte : bytes) {
        digest = base::wrapping_mul(digest ^ static_cast<std::uint64_t>(byte),
                                    std::uint64_t{0x100'0000'01B3});
    }
    return digest;
}

/// How many of `writable` bytes the device answers with, and which.
std::uint32_t answer_length(std::uint64_t digest, std::uint32_t writable) {
    return digest % 4 == 0 ? static_cast<std::uint32_t>(digest % (writable + 1)) : writable;
}

std::byte answer_byte(std::uint64_t digest, std::uint32_t i) {
    return static_cast<std::byte>((digest >> (8 * (i % 8))) + i / 8);
}

}  // namespace

std::uint32_t answer_request(const virtio::Chain& chain) {
    std::array<std::byte, VirtioWorkload::request_bytes> buffer;
    const std::size_t size = virtio::ChainReader(chain).read(buffer);
    const std::uint64_t digest = digest_of(std::span(buffer).first(size));
    const auto writable =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(chain.writable_bytes(), buffer.size()));
    const std::uint32_t length = answer_length(digest, writable);
    for (std::uint32_t i = 0; i < length; ++i) {
        buffer[i] = answer_byte(digest, i);
    }
    virtio::ChainWriter writer(chain);
    writer.write(std::span(buffer).first(length));
    return writer.written();
}

VirtioWorkload::VirtioWorkload(const memory::GuestMemory& memory, VirtioDriver& driver,
                               const VirtioDriver::Options& options, memory::GuestAddress data,
                               std::uint64_t seed)
    : memory_(memory),
      driver_(driver),
      options_(options),
      data_(data),
      random_(seed),
      requests_(options.size) {
    reset();
}

void VirtioWorkload::reset() {
    free_.resize(options_.size);
    std::iota(free_.begin(), free_.end(), 0);
}

std::vector<VirtioDriver::Buffer> VirtioWorkload::cut(memory::GuestAddress address,
                                                      std::uint32_t bytes, std::uint32_t pieces,
                                                      bool writable) {
    std::vector<VirtioDriver::Buffer> buffers;
    while (bytes > 0) {
        const std::uint32_t length = pieces <= 1 ? bytes : 1 + random(bytes);
        buffers.push_back({.address = address, .length = length, .writable = writable});
        address = address + length;
        bytes -= length;
        --pieces;
    }
    return buffers;
}

bool VirtioWorkload::submit() {
    if (free_.empty()) {
        return false;
    }
    const std::uint32_t token = free_.back();
    const memory::GuestAddress address = data_ + std::uint64_t{token} * request_bytes;
    Request request{.readable = random(128), .writable = random(128)};
    if (request.readable + request.writable == 0) {
        request.readable = 1;
    }
    std::array<std::byte, request_bytes> contents;
    contents.fill(untouched);
    for (std::uint32_t i = 0; i < request.readable; ++i) {
        contents[i] = static_cast<std::byte>(random(256));
    }
    request.digest = digest_of(std::span(contents).first(request.readable));
    CUPULE_ASSERT(memory_.write(address, contents));

    const std::uint32_t pieces_max = std::min<std::uint32_t>(options_.size, 4);
    auto buffers = cut(address, request.readable, 1 + random(pieces_max), false);
    const auto writable =
        cut(address + request_bytes / 2, request.writable, 1 + random(pieces_max), true);
    buffers.insert(buffers.end(), writable.begin(), writable.end());
    auto shape = VirtioDriver::Shape::direct;
    if ((options_.features & virtio::feature::indirect_desc) != 0) {
        shape = static_cast<VirtioDriver::Shape>(random(3));
    }
    if (shape != VirtioDriver::Shape::indirect && buffers.size() > options_.size) {
        return false;  // would never fit; the next random one may
    }
    if (!driver_.submit(buffers, token, shape)) {
        return false;
    }
    free_.pop_back();
    requests_[token] = request;
    ++submitted_;
    return true;
}

void VirtioWorkload::verify(std::uint64_t token, std::uint32_t written) {
    const Request& request = requests_[token];
    const std::uint32_t expected = answer_length(request.digest, request.writable);
    if (written != expected) {
        problem_ = fmt::format("request {}: {} bytes written, not {}", token, written, expected);
        return;
    }
    std::array<std::byte, request_bytes> contents;
    CUPULE_ASSERT(memory_.read(data_ + token * request_bytes, contents));
    if (digest_of(std::span(contents).first(request.readable)) != request.digest) {
        problem_ = fmt::format("request {}: the readable half was changed", token);
    }
    for (std::uint32_t i = 0; i < request_bytes / 2; ++i) {
        const std::byte want = i < written ? answer_byte(request.digest, i) : untouched;
        if (contents[request_bytes / 2 + i] != want) {
            problem_ = fmt::format("request {}: wrong answer at byte {}", token, i);
            return;
        }
    }
}

std::uint32_t VirtioWorkload::collect() {
    std::uint32_t count = 0;
    while (const auto used = driver_.collect()) {
        verify(used->token, used->written);
        free_.push_back(static_cast<std::uint32_t>(used->token));
        ++count;
    }
    if (problem_.empty()) {
        problem_ = driver_.violation();
    }
    finished_ += count;
    return count;
}

}  // namespace cupule::testing
