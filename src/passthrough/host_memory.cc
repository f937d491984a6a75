#include "passthrough/host_memory.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/file_descriptor.h"
#include "passthrough/host_files.h"

namespace cupule::passthrough {
namespace {

/// Lines like "  fed40000-fed44fff : MSFT0101:00".
std::optional<HostRange> parse_range(std::string_view line) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    const std::size_t dash = line.find('-');
    const std::size_t name = line.find(" : ");
    if (dash == std::string_view::npos || name == std::string_view::npos || dash > name) {
        return std::nullopt;
    }
    const auto first = parse_host_number<std::uint64_t>(line.substr(0, dash), 16);
    const auto last = parse_host_number<std::uint64_t>(line.substr(dash + 1, name - dash - 1), 16);
    if (!first || !last || *last < *first || *last >= physical_address_end) {
        return std::nullopt;
    }
    return HostRange{
        .base = *first, .size = *last - *first + 1, .name = std::string(line.substr(name + 3))};
}

}  // namespace

base::Result<std::vector<HostRange>> read_host_memory_map(const std::string& root) {
    const std::string path = root + "/proc/iomem";
    const std::string text = read_host_bytes(path);
    std::vector<HostRange> ranges;
    for (std::string_view rest = text; !rest.empty();) {
        if (auto range = parse_range(next_line(rest))) {
            ranges.push_back(std::move(*range));
        }
    }
    if (std::ranges::all_of(ranges, [](const HostRange& one) { return one.last() == 0; })) {
        return base::fail("'{}' does not show the host's addresses to this process: run as root",
                          path);
    }
    return ranges;
}

base::Result<HostMapping> HostMapping::map(std::uint64_t base, std::uint64_t size,
                                           const std::string& path) {
    // O_SYNC: without it the kernel would map registers cacheable where it knows no better.
    auto fd = base::open_file(path, O_RDWR | O_SYNC);
    if (!fd) {
        return std::unexpected(base::Error{
            .message = fmt::format("{}; it is the only way to memory of the host that is no PCI "
                                   "device's: run as root, on a kernel with CONFIG_DEVMEM and not "
                                   "locked down (lockdown=none)",
                                   fd.error().message),
            .code = fd.error().code});
    }
    void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(),
                      static_cast<off_t>(base));
    if (data == MAP_FAILED) {
        const int code = errno;
        return base::fail_errno(
            code, "the host's kernel does not give [{:#x}, {:#x}) away{}", base, base + size,
            code == EPERM ? " (CONFIG_STRICT_DEVMEM, CONFIG_IO_STRICT_DEVMEM): it is RAM, or a "
                            "driver uses it; unbind that driver, or start the host with "
                            "iomem=relaxed"
                          : "");
    }
    return HostMapping(static_cast<std::byte*>(data), size);
}

HostMapping::HostMapping(HostMapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}

HostMapping::~HostMapping() {
    if (data_ != nullptr) {
        munmap(data_, size_);
    }
}

}  // namespace cupule::passthrough
