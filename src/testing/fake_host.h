#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace cupule::testing {

struct FakeFunction {
    std::string name;
    std::string driver{};
    std::optional<unsigned> group{};
    unsigned irq = 0;
    /// Somebody has enabled it, so `irq` is more than what firmware left.
    bool enabled = true;
    std::uint8_t capability = 0;  // the only one
    std::uint8_t header_type = 0;
    std::string bus = "pci0000:00";
};

/// A directory with the parts of /sys and /proc that passthrough reads. `kernel` does what Linux
/// does when somebody writes there.
class FakeHost {
  public:
    FakeHost() {
        char path[] = "/tmp/cupule-host-XXXXXX";
        root_ = mkdtemp(path);
        for (const char* part :
             {"/proc", "/run", "/sys", "/sys/bus", "/sys/bus/pci", "/sys/bus/pci/devices",
              "/sys/bus/pci/drivers", "/sys/devices", "/sys/groups"}) {
            mkdir((root_ + part).c_str(), 0755);
        }
        make_directory("/sys/firmware");
        make_directory("/sys/firmware/acpi");
        make_directory("/sys/firmware/acpi/tables");
        interrupts(true);
        ioapics({0});
    }
    ~FakeHost() {
        std::error_code error;
        std::filesystem::remove_all(root_, error);
        EXPECT_FALSE(error) << error.message();
    }
    FakeHost(const FakeHost&) = delete;
    FakeHost& operator=(const FakeHost&) = delete;

    const std::string& root() const { return root_; }

    void interrupts(bool remapped) {
        const std::string chip = remapped ? "IR-IO-APIC" : "IO-APIC";
        write("/proc/interrupts", "           CPU0\n  9:   0   " + chip +
                                      "   9-fasteoi   acpi\n 33:   5   " + chip +
                                      "  20-fasteoi   uhci\nNMI:  0  Non-maskable\n");
    }
    /// A MADT with a local APIC, and IOAPICs whose first GSIs these are.
    void ioapics(const std::vector<std::uint8_t>& bases) {
        std::string table(44, '\0');
        table += std::string("\0\x08\0\0\x01\0\0\0", 8);
        for (const std::uint8_t base : bases) {
            table += std::string("\x01\x0C\0\0\0\0\xC0\xFE", 8);
            table += static_cast<char>(base);
            table += std::string(3, '\0');
        }
        write("/sys/firmware/acpi/tables/APIC", table);
    }
    void add(const FakeFunction& function) {
        const std::string bus = "/sys/devices/" + function.bus;
        make_directory(bus);
        const std::string path = bus + "/" + function.name;
        make_directory(path);
        link("../../../devices/" + function.bus + "/" + function.name, device(function.name));
        write(path + "/vendor", "0x8086\n");
        write(path + "/device", "0x10d3\n");
        write(path + "/class", "0x020000\n");
        write(path + "/irq", std::to_string(function.irq) + "\n");
        write(path + "/enable", function.enabled ? "1\n" : "0\n");
        write(path + "/driver_override", "(null)\n");
        std::string config(256, '\0');
        config[0x06] = 0x10;
        config[0x0E] = static_cast<char>(function.header_type);
        config[0x34] = 0x40;
        config[0x3D] = 1;
        config[0x40] = static_cast<char>(function.capability);
        config[255] = '\n';
        write(path + "/config", config);
        if (!function.driver.empty()) {
            add_driver(function.driver);
            attach(function.name, function.driver);
        }
        if (function.group) {
            link("../../groups/" + std::to_string(*function.group), path + "/iommu_group");
        }
    }
    void add_driver(const std::string& name) {
        make_directory("/sys/bus/pci/drivers/" + name);
        write("/sys/bus/pci/drivers/" + name + "/bind", "");
    }

    /// The driver of a function, empty: none.
    std::string driver_of(const std::string& name) const {
        char target[256] = {};
        const ssize_t size =
            readlink((root_ + device(name) + "/driver").c_str(), target, sizeof target);
        const std::string path(target, size > 0 ? static_cast<std::size_t>(size) : 0);
        return std::string(base::after_last(path, '/'));
    }

    /// Linux, as far as driver_override, unbind, bind and drivers_probe go. A driver named
    /// `refusing` takes no function; without an override, `natural` takes what is probed.
    base::Result<void> kernel(const std::string& path, const std::string& text) {
        const std::string below = path.substr(root_.size());
        const std::string file = std::string(base::after_last(below, '/'));
        const std::string directory = below.substr(0, below.rfind('/'));
        if (file == "driver_override") {
            write(below, text == "\n" ? "(null)\n" : text);
        } else if (file == "unbind") {
            EXPECT_EQ(::unlink((root_ + directory).c_str()), 0);
        } else if (file == "bind") {
            const std::string driver(base::after_last(directory, '/'));
            if (driver == refusing) {
                return base::fail_errno(ENODEV, "'{}' does not take '{}'", path, text);
            }
            attach(text, driver);
        } else if (file == "drivers_probe") {
            std::string wanted = read(device(text) + "/driver_override");
            wanted = wanted.starts_with("(null)") ? natural : wanted;
            if (wanted != refusing && !wanted.empty() && driver_of(text).empty()) {
                attach(text, wanted);
            }
        }
        return {};
    }
    std::string refusing{};
    std::string natural{};

    void write(const std::string& path, const std::string& text) {
        std::ofstream(root_ + path, std::ios::binary) << text;
    }
    std::string read(const std::string& path) const {
        std::ifstream file(root_ + path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }
    void make_directory(const std::string& path) { mkdir((root_ + path).c_str(), 0755); }
    void link(const std::string& target, const std::string& path) {
        EXPECT_EQ(symlink(target.c_str(), (root_ + path).c_str()), 0);
    }

  private:
    static std::string device(const std::string& name) { return "/sys/bus/pci/devices/" + name; }
    void attach(const std::string& name, const std::string& driver) {
        link("../../../bus/pci/drivers/" + driver, device(name) + "/driver");
    }
    std::string root_;
};

}  // namespace cupule::testing
