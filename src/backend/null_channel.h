#pragma once

#include "backend/byte_channel.h"

namespace cupule::backend {

/// A wire that ends nowhere: takes everything, gives nothing.
class NullChannel : public ByteChannel {
  public:
    std::size_t read(std::span<std::uint8_t> /*to*/) override { return 0; }
    std::size_t write(std::span<const std::uint8_t> from) override { return from.size(); }
    bool connected() const override { return false; }
    void set_events(ByteChannelEvents* /*events*/) override {}
};

}  // namespace cupule::backend
