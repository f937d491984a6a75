#include "passthrough/driver_binding.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/file_descriptor.h"

namespace cupule::passthrough {
namespace {

constexpr const char* bus = "/sys/bus/pci";
constexpr const char* record_directory = "/run/cupule-passthrough";

}  // namespace

std::string DriverBinding::device_path(const HostFunction& function) const {
    return fmt::format("{}{}/devices/{}", root_, bus, function.address.text());
}

std::string DriverBinding::record_path(const HostFunction& function) const {
    return fmt::format("{}{}/{}", root_, record_directory, function.address.text());
}

base::Result<void> DriverBinding::write(const std::string& path, const std::string& text) const {
    CUPULE_TRY_ASSIGN(const base::FileDescriptor fd, base::open_file(path, O_WRONLY));
    if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        return base::fail_errno(errno, "'{}' does not take '{}'", path, text);
    }
    return {};
}

base::Result<void> DriverBinding::record(const HostFunction& function) const {
    const std::string directory = root_ + record_directory;
    if (mkdir(directory.c_str(), 0700) < 0 && errno != EEXIST) {
        return base::fail_errno(errno, "cannot make '{}'", directory);
    }
    CUPULE_TRY_ASSIGN(const base::FileDescriptor fd,
                      base::open_file(record_path(function), O_WRONLY | O_CREAT | O_TRUNC, 0600));
    const std::string& driver = function.driver;
    if (::write(fd.get(), driver.data(), driver.size()) != static_cast<ssize_t>(driver.size())) {
        return base::fail_errno(errno, "cannot write '{}'", record_path(function));
    }
    return {};
}

base::Result<void> DriverBinding::bind(const HostFunction& function) const {
    if (function.driver == "vfio-pci") {
        return {};
    }
    if (function.is_bridge()) {
        return base::fail("{} is a bridge; only endpoints can be passed through",
                          function.address.text());
    }
    const std::string vfio = root_ + bus + "/drivers/vfio-pci";
    if (access(vfio.c_str(), F_OK) < 0) {
        return base::fail("the kernel has no vfio-pci driver: `modprobe vfio-pci`");
    }
    const std::string path = device_path(function);
    CUPULE_TRY(record(function));
    CUPULE_TRY(write(path + "/driver_override", "vfio-pci"));
    if (!function.driver.empty()) {
        CUPULE_TRY(write(path + "/driver/unbind", function.address.text()));
    }
    return write(root_ + bus + "/drivers_probe", function.address.text());
}

base::Result<void> DriverBinding::unbind(const HostFunction& function) const {
    if (function.driver != "vfio-pci") {
        return base::fail("{} is not bound to vfio-pci but to {}", function.address.text(),
                          function.driver.empty() ? "no driver" : function.driver);
    }
    std::string driver;
    if (const auto fd = base::open_file(record_path(function), O_RDONLY)) {
        std::array<char, 64> buffer{};
        const ssize_t count = ::read(fd->get(), buffer.data(), buffer.size());
        driver.assign(buffer.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
    }
    const std::string path = device_path(function);
    CUPULE_TRY(write(path + "/driver_override", "\n"));
    CUPULE_TRY(write(path + "/driver/unbind", function.address.text()));
    unlink(record_path(function).c_str());
    const std::string own = fmt::format("{}{}/drivers/{}/bind", root_, bus, driver);
    if (!driver.empty() && access(own.c_str(), F_OK) == 0) {
        return write(own, function.address.text());
    }
    return write(root_ + bus + "/drivers_probe", function.address.text());
}

}  // namespace cupule::passthrough
