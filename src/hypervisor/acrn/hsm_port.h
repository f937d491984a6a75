#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"

namespace cupule::hypervisor::acrn {

/// One open file of the HSM: one VM. Any thread.
class HsmPort {
  public:
    virtual ~HsmPort() = default;
    /// ioctl(2) with this request and argument: its value, or the negative errno. Not started again
    /// after a signal: only ATTACH can meet one, and answers 0.
    virtual int call(unsigned long request, std::uintptr_t argument) = 0;
};

/// Opens the HSM's character device at `path`; where `path` is empty, the names of ACRN's own
/// kernel and of the upstream kernel in turn. The error says how to get one.
base::Result<std::unique_ptr<HsmPort>> open_hsm(const std::string& path);

}  // namespace cupule::hypervisor::acrn
