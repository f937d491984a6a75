#include "machine/passthrough_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <numeric>

#include "base/file_descriptor.h"

namespace cupule::machine {
namespace {

constexpr std::size_t rom_size_max = std::size_t{16} << 20;
constexpr std::size_t table_size_max = std::size_t{1} << 20;
constexpr std::size_t table_header_size = 36;

base::Result<std::vector<std::uint8_t>> read_file(const std::string& path, std::size_t size_max) {
    CUPULE_TRY_ASSIGN(const base::FileDescriptor fd, base::open_file(path, O_RDONLY));
    std::vector<std::uint8_t> bytes;
    std::array<std::uint8_t, 4096> buffer{};
    for (;;) {
        const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
        if (count < 0) {
            return base::fail_errno(errno, "cannot read '{}'", path);
        }
        if (count == 0) {
            return bytes;
        }
        bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + count);
        if (bytes.size() > size_max) {
            return base::fail("'{}' has more than {} bytes", path, size_max);
        }
    }
}

}  // namespace

base::Result<std::vector<std::uint8_t>> read_rom(const std::string& path) {
    if (path.empty()) {
        return std::vector<std::uint8_t>{};
    }
    CUPULE_TRY_ASSIGN(auto bytes, read_file(path, rom_size_max));
    if (bytes.size() < 2 || bytes[0] != 0x55 || bytes[1] != 0xAA) {
        return base::fail("romfile '{}' is no expansion ROM: it does not begin with 55 AA", path);
    }
    return bytes;
}

base::Result<acpi::Table> read_acpi_table(const std::string& path) {
    CUPULE_TRY_ASSIGN(auto bytes, read_file(path, table_size_max));
    if (bytes.size() < table_header_size || !std::equal(bytes.begin(), bytes.begin() + 4, "SSDT")) {
        return base::fail("dsdt '{}' is no compiled SSDT: make one with `iasl`", path);
    }
    const std::size_t length = std::size_t{bytes[4]} | std::size_t{bytes[5]} << 8 |
                               std::size_t{bytes[6]} << 16 | std::size_t{bytes[7]} << 24;
    const std::uint8_t sum = std::accumulate(
        bytes.begin(), bytes.end(), std::uint8_t{0},
        [](std::uint8_t a, std::uint8_t b) { return static_cast<std::uint8_t>(a + b); });
    if (length != bytes.size() || sum != 0) {
        return base::fail("dsdt '{}' is damaged: its length or checksum is wrong", path);
    }
    return acpi::Table{.name = "SSDT", .bytes = std::move(bytes)};
}

}  // namespace cupule::machine
