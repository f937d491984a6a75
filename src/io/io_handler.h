#pragma once

#include <cstdint>
#include <string_view>

namespace cupule::io {

/// An emulation routine behind a range of an address space. Hardware always answers: a read returns
/// a value, a write returns nothing, and no access is an error. Called with the owner's monitor
/// held; `offset` counts from the start of the registered range, `size` is 1, 2, 4 or 8, and offset
/// + size never passes the end of the range. Any alignment can come.
class IoHandler {
  public:
    virtual ~IoHandler() = default;
    virtual std::uint64_t read(std::uint64_t offset, unsigned size) = 0;
    virtual void write(std::uint64_t offset, unsigned size, std::uint64_t value) = 0;
    /// The mnemonic of the register at `offset` for traces, or empty. May be called without the
    /// monitor (it depends on nothing that changes).
    virtual std::string_view register_name(std::uint64_t /*offset*/) const { return {}; }
};

}  // namespace cupule::io
