#include "hypervisor/acrn/hsm_port.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <utility>

#include "base/file_descriptor.h"

namespace cupule::hypervisor::acrn {
namespace {

constexpr const char* acrn_kernel_path = "/dev/acrn_vhm";
constexpr const char* upstream_path = "/dev/acrn_hsm";

class HsmDevice : public HsmPort {
  public:
    explicit HsmDevice(base::FileDescriptor fd) : fd_(std::move(fd)) {}

    int call(unsigned long request, std::uintptr_t argument) override {
        const int result = ::ioctl(fd_.get(), request, argument);
        return result < 0 ? -errno : result;
    }

  private:
    base::FileDescriptor fd_;
};

}  // namespace

base::Result<std::unique_ptr<HsmPort>> open_hsm(const std::string& path) {
    auto file = base::open_file(path.empty() ? acrn_kernel_path : path, O_RDWR);
    if (!file && path.empty() && file.error().code == ENOENT) {
        file = base::open_file(upstream_path, O_RDWR);
    }
    if (!file) {
        return base::fail(
            "no ACRN hypervisor service module: {}; on a host without ACRN `cupule hsm` provides "
            "one",
            file.error().message);
    }
    return std::make_unique<HsmDevice>(std::move(*file));
}

}  // namespace cupule::hypervisor::acrn
