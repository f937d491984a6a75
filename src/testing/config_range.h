#pragma once

#include "event/mutex.h"
#include "pci/function.h"

namespace cupule::testing {

/// The configuration space of a function as a register range, for the device contract.
class ConfigRange : public io::IoHandler {
  public:
    explicit ConfigRange(pci::Function& function) : function_(function) {}
    std::uint64_t read(std::uint64_t offset, unsigned size) override {
        return function_.read_config(offset, size);
    }
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
        function_.write_config(offset, size, value);
    }

  private:
    pci::Function& function_;
};

/// One access with the function's monitor taken, as the machine does it.
inline std::uint64_t read_config(pci::Function& function, event::Monitor& monitor,
                                 std::uint64_t offset, unsigned size) {
    event::MutexLock lock(monitor);
    return function.read_config(offset, size);
}
inline void write_config(pci::Function& function, event::Monitor& monitor, std::uint64_t offset,
                         unsigned size, std::uint64_t value) {
    event::MutexLock lock(monitor);
    function.write_config(offset, size, value);
}

}  // namespace cupule::testing
