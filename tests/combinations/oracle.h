#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "event/worker.h"
#include "guest.h"
#include "virtio/device.h"

namespace cupule::testing {

/// One way to use a device, apart from its rings.
struct Meeting {
    /// How many of what the device has several of: a disk's queues, pairs, ports.
    unsigned units = 1;
    /// Features of the device type.
    std::uint64_t features = 0;
    /// How many queues the driver sets up.
    std::uint16_t queues = 1;
};

/// The other ends of a device: the driver's part of a conversation and the host's, and what each
/// must find.
class Oracle {
  public:
    virtual ~Oracle() = default;
    /// A fresh device for a meeting, which this outlives, to be plugged into `bench`.
    virtual std::unique_ptr<virtio::Device> make(unsigned units, VirtioPciBench& bench) = 0;
    virtual std::vector<Meeting> meetings() const = 0;
    /// Features of the rings that such a device does not offer.
    virtual std::uint64_t lacking() const { return 0; }
    /// Once behind DRIVER_OK.
    virtual void introduce(Guest& /*guest*/, const Meeting& /*meeting*/) {}
    /// Some requests of every kind on every queue; all of it compared.
    virtual void exchange(Guest& guest, const Meeting& meeting) = 0;
};

/// The address of the net oracle's card.
inline constexpr std::array<std::uint8_t, 6> card_mac{0x00, 0x16, 0x3E, 9, 8, 7};

std::unique_ptr<Oracle> make_disk_oracle();
std::unique_ptr<Oracle> make_net_oracle();
std::unique_ptr<Oracle> make_console_oracle();
std::unique_ptr<Oracle> make_socket_oracle();
std::unique_ptr<Oracle> make_random_oracle();
std::unique_ptr<Oracle> make_balloon_oracle();
// Behind the back end of vhost-user, with the front end as the device. Not under ThreadSanitizer:
// both ends see the rings' memory at addresses of their own.
std::unique_ptr<Oracle> make_served_disk_oracle();
std::unique_ptr<Oracle> make_served_net_oracle();

/// The bytes of a structure, for what goes over a ring.
template <class T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span(&value, 1));
}

/// The structure at the start of an answer; zeroes where the answer is too short.
template <class T>
T structure_in(std::span<const std::byte> bytes) {
    T value{};
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
}

inline void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace cupule::testing
