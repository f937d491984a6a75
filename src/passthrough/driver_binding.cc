#include "passthrough/driver_binding.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "base/log.h"
#include "passthrough/config_image.h"
#include "passthrough/host_files.h"
#include "pci/config_registers.h"

namespace cupule::passthrough {
namespace {

constexpr const char* bus = "/sys/bus/pci";
constexpr const char* record_directory = "/run/cupule-passthrough";
constexpr std::string_view run_mark = "run";
/// How driver_override spells nothing.
constexpr std::string_view no_override = "(null)";

base::Result<void> write_file(const std::string& path, const std::string& text) {
    CUPULE_TRY_ASSIGN(const base::FileDescriptor fd, base::open_file(path, O_WRONLY));
    if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        return base::fail_errno(errno, "'{}' does not take '{}'", path, text);
    }
    return {};
}

constexpr std::uint64_t error_enables = 0x000F;
constexpr std::uint64_t uncorrected_enables = 0x0006;  // non-fatal and fatal

/// Where Device Control is; std::nullopt: the function is not PCI Express.
std::optional<std::uint64_t> device_control_place(const std::vector<std::uint8_t>& config) {
    constexpr std::uint64_t device_control = 8;  // in the PCI Express capability
    const auto size = static_cast<unsigned>(config.size());
    const ConfigImage image = read_config_image(config_reader(config), size);
    const ConfigCapability* const express = image.find(pci::capability::express);
    if (express == nullptr || express->length < device_control + 2) {
        return std::nullopt;
    }
    return express->offset + device_control;
}

std::uint64_t allowed_errors(const std::vector<std::uint8_t>& config) {
    const auto place = device_control_place(config);
    return place ? config_reader(config)(*place, 2) & error_enables : 0;
}

/// Sets the enables of Device Control that the driver had set, which `function.config` shows, and
/// those of errors that are not corrected where the port above, `port`, has them. Best effort:
/// without them the device is as good.
void allow_error_messages(const HostFunction& function, const std::vector<std::uint8_t>& port,
                          const std::string& config_path) {
    const auto place = device_control_place(function.config);
    const std::uint64_t allowed =
        allowed_errors(function.config) | (allowed_errors(port) & uncorrected_enables);
    if (!place || allowed == 0) {
        return;
    }
    const auto fd = base::open_file(config_path, O_RDWR);
    const auto at = static_cast<off_t>(*place);
    std::uint16_t now = 0;
    if (!fd || pread(fd->get(), &now, sizeof now, at) != sizeof now) {
        return;
    }
    const auto wanted = static_cast<std::uint16_t>(now | allowed);
    if (wanted != now && pwrite(fd->get(), &wanted, sizeof wanted, at) != sizeof wanted) {
        base::log_debug("{}: its errors will not be heard of", function.address.text());
    }
}

}  // namespace

DriverBinding::DriverBinding(std::string root, Writer writer)
    : root_(std::move(root)), write_(writer ? std::move(writer) : Writer(write_file)) {}

std::string DriverBinding::device_path(const HostAddress& address) const {
    return fmt::format("{}{}/devices/{}", root_, bus, address.text());
}

std::string DriverBinding::record_path(const HostAddress& address) const {
    return fmt::format("{}{}/{}", root_, record_directory, address.text());
}

std::optional<BindingRecord> DriverBinding::record(const HostFunction& function) const {
    const bool others = !function.driver.empty() && function.driver != "vfio-pci";
    return others ? std::nullopt : read_record(function);
}

void DriverBinding::forget(const HostAddress& address) const {
    unlink(record_path(address).c_str());
}

std::optional<BindingRecord> DriverBinding::read_record(const HostFunction& function) const {
    const std::string path = record_path(function.address);
    if (access(path.c_str(), F_OK) < 0) {
        return std::nullopt;
    }
    const std::string text = read_host_bytes(path);
    std::string_view rest = text;
    const std::string_view driver = next_line(rest);
    const std::string_view override_driver = next_line(rest);
    return BindingRecord{.driver = std::string(driver),
                         .override_driver = std::string(override_driver),
                         .time = next_line(rest) == run_mark ? BindingTime::until_run_ends
                                                             : BindingTime::until_unbound};
}

BindingRecord DriverBinding::state_before(const HostFunction& function, BindingTime time) const {
    if (auto kept = function.driver.empty() ? read_record(function) : std::nullopt) {
        kept->time = time;
        return *kept;
    }
    const std::string override_driver =
        read_host_text(device_path(function.address) + "/driver_override");
    return {.driver = function.driver,
            .override_driver = override_driver == no_override ? std::string() : override_driver,
            .time = time};
}

base::Result<void> DriverBinding::write_record(const HostFunction& function,
                                               const BindingRecord& record) const {
    const std::string directory = root_ + record_directory;
    if (mkdir(directory.c_str(), 0700) < 0 && errno != EEXIST) {
        return base::fail_errno(errno, "cannot make '{}'", directory);
    }
    const std::string text =
        fmt::format("{}\n{}\n{}\n", record.driver, record.override_driver,
                    record.time == BindingTime::until_run_ends ? run_mark : std::string_view());
    CUPULE_TRY_ASSIGN(
        const base::FileDescriptor fd,
        base::open_file(record_path(function.address), O_WRONLY | O_CREAT | O_TRUNC, 0600));
    if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        return base::fail_errno(errno, "cannot write '{}'", record_path(function.address));
    }
    return {};
}

base::Result<void> DriverBinding::bind(const HostFunction& function, BindingTime time) const {
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
    const std::string path = device_path(function.address);
    const BindingRecord before = state_before(function, time);
    CUPULE_TRY(write_record(function, before));
    CUPULE_TRY(write_(path + "/driver_override", "vfio-pci"));
    if (!function.driver.empty()) {
        CUPULE_TRY(write_(path + "/driver/unbind", function.address.text()));
    }
    std::string port;
    if (function.upstream) {
        port = read_host_bytes(device_path(*function.upstream) + "/config");
    }
    allow_error_messages(function, {port.begin(), port.end()}, path + "/config");
    const auto probed = write_(root_ + bus + "/drivers_probe", function.address.text());
    const std::string driver = host_link_name(path + "/driver");
    if (driver == "vfio-pci") {
        return {};
    }
    const auto given = give_back(function, !driver.empty(), before);
    return base::fail("vfio-pci does not take {}: {}; `dmesg` may say more{}{}",
                      function.address.text(),
                      probed ? "its probe refused the device" : probed.error().message,
                      given ? "" : ", and ", given ? "" : given.error().message);
}

base::Result<void> DriverBinding::unbind(const HostFunction& function) const {
    const auto before = record(function);
    const bool bound = function.driver == "vfio-pci";
    if (!bound && !(function.driver.empty() && before)) {
        return base::fail("{} is not bound to vfio-pci but to {}", function.address.text(),
                          function.driver.empty() ? "no driver" : function.driver);
    }
    return give_back(function, bound, before);
}

base::Result<void> DriverBinding::give_back(const HostFunction& function, bool bound,
                                            const std::optional<BindingRecord>& record) const {
    const std::string name = function.address.text();
    const std::string path = device_path(function.address);
    const bool had_override = record && !record->override_driver.empty();
    CUPULE_TRY(write_(path + "/driver_override", had_override ? record->override_driver : "\n"));
    if (bound) {
        CUPULE_TRY(write_(path + "/driver/unbind", name));
    }
    if (!record) {
        return write_(root_ + bus + "/drivers_probe", name);
    }
    if (!record->driver.empty()) {
        const auto offered = offer(function, *record);
        if (host_link_name(path + "/driver").empty()) {
            return base::fail(
                "its driver {} does not take {} back: {}; `dmesg` may say why, and then `cupule "
                "passthrough unbind {}` tries again",
                record->driver, name,
                offered ? "its probe refused the device" : offered.error().message, name);
        }
    }
    forget(function.address);
    return {};
}

base::Result<void> DriverBinding::offer(const HostFunction& function,
                                        const BindingRecord& record) const {
    const std::string own = fmt::format("{}{}/drivers/{}/bind", root_, bus, record.driver);
    auto given = access(own.c_str(), F_OK) == 0
                     ? write_(own, function.address.text())
                     : base::Result<void>(base::fail("there is no such driver: load its module"));
    if (!given) {
        // What became of that shows in who has it.
        static_cast<void>(write_(root_ + bus + "/drivers_probe", function.address.text()));
    }
    return given;
}

}  // namespace cupule::passthrough
