#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace cupule::fuzz {

/// Takes values off the input's front; zeros when it is used up.
class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}
    explicit Input(std::span<const std::byte> bytes)
        : left_(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()) {}
    bool empty() const { return left_.empty(); }
    template <class T>
    T take() {
        T value{};
        const std::size_t size = std::min(sizeof(T), left_.size());
        std::memcpy(&value, left_.data(), size);
        left_ = left_.subspan(size);
        return value;
    }
    std::span<const std::byte> bytes(std::size_t size) {
        const auto taken = left_.first(std::min(size, left_.size()));
        left_ = left_.subspan(taken.size());
        return std::as_bytes(taken);
    }

  private:
    std::span<const std::uint8_t> left_;
};

}  // namespace cupule::fuzz
