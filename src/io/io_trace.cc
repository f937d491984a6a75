#include "io/io_trace.h"

#include <cerrno>

namespace cupule::io {
namespace {

std::string_view kind_name(IoKind kind) {
    switch (kind) {
        case IoKind::port:
            return "port";
        case IoKind::mmio:
            return "mmio";
        case IoKind::pci_config:
            return "pci";
    }
    return "?";
}

}  // namespace

base::Result<std::unique_ptr<IoTraceFile>> IoTraceFile::create(const std::string& path,
                                                               const event::Clock& clock) {
    std::FILE* file = std::fopen(path.c_str(), "we");
    if (file == nullptr) {
        return base::fail_errno(errno, "cannot write the I/O trace '{}'", path);
    }
    return std::unique_ptr<IoTraceFile>(new IoTraceFile(file, clock));
}

IoTraceFile::IoTraceFile(std::FILE* file, const event::Clock& clock)
    : clock_(clock), start_ns_(clock.now_ns()), file_(file) {}

IoTraceFile::~IoTraceFile() {
    event::MutexLock lock(mutex_);
    std::fclose(file_);
}

void IoTraceFile::record(const IoRequest& request, std::string_view device,
                         std::string_view register_name) {
    const std::uint64_t elapsed_ns = clock_.now_ns() - start_ns_;
    const std::string where =
        request.kind == IoKind::pci_config
            ? fmt::format("{:02x}:{:02x}.{:x}+{:03x}", request.bdf.bus, request.bdf.device,
                          request.bdf.function, request.address)
            : fmt::format("{:x}", request.address);
    const std::string line = fmt::format(
        "{}.{:09} vcpu{} {} {}{} {} {} {} {:#x}\n", elapsed_ns / event::ns_per_s,
        elapsed_ns % event::ns_per_s, request.vcpu, kind_name(request.kind),
        request.direction == IoDirection::read ? 'r' : 'w', request.size, where,
        device.empty() ? "-" : device, register_name.empty() ? "-" : register_name, request.value);
    event::MutexLock lock(mutex_);
    std::fwrite(line.data(), 1, line.size(), file_);
}

}  // namespace cupule::io
