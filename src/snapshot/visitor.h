#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace cupule::snapshot {

/// Walks the guest-visible state of a device. Save, restore and the debugger's view are three
/// visitors; a device names each field once, in one `visit` function. Field names are unique within
/// their group.
class Visitor {
  public:
    virtual ~Visitor() = default;

    /// An integer, bool or enum.
    template <class T>
    requires std::integral<T> || std::is_enum_v<T>
    void field(std::string_view name, T& value) {
        auto raw = static_cast<std::uint64_t>(value);
        integer(name, raw, sizeof(T));
        value = static_cast<T>(raw);
    }

    /// Raw contents of fixed size (a FIFO, a RAM).
    template <std::size_t N>
    void field(std::string_view name, std::array<std::uint8_t, N>& value) {
        bytes(name, value);
    }

    /// Opens and closes a named group: a channel, a queue, a sub-device.
    virtual void begin(std::string_view group) = 0;
    virtual void end() = 0;

    /// True while values are being replaced: the device checks them afterwards as it would a
    /// guest's.
    virtual bool restoring() const { return false; }

    virtual void integer(std::string_view name, std::uint64_t& value, unsigned size) = 0;
    virtual void bytes(std::string_view name, std::span<std::uint8_t> value) = 0;
};

}  // namespace cupule::snapshot
