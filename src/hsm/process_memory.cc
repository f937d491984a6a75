#include "hsm/process_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/bits.h"
#include "base/text.h"
#include "hsm/client_process.h"
#include "memory/page.h"

namespace cupule::hsm {
namespace {

constexpr std::uint64_t largest_page = std::uint64_t{1} << 30;

/// Takes a hexadecimal number and the `stop` behind it off the front.
std::optional<std::uint64_t> take_hex(std::string_view& text, char stop) {
    const auto value = base::take_number<std::uint64_t>(text, 16);
    if (!value || !text.starts_with(stop)) {
        return std::nullopt;
    }
    text.remove_prefix(1);
    return value;
}

base::Result<std::string> read_text(const std::string& path) {
    CUPULE_TRY_ASSIGN(const base::FileDescriptor file, base::open_file(path, O_RDONLY));
    std::string text;
    char piece[16384];
    ssize_t count = 0;
    while ((count = ::read(file.get(), piece, sizeof piece)) > 0) {
        text.append(piece, static_cast<std::size_t>(count));
    }
    if (count < 0) {
        return base::fail_errno(errno, "cannot read '{}'", path);
    }
    return text;
}

/// Room in this process's addresses for `size` bytes, at the same place within the largest page as
/// `like`: huge pages then fit here as they fit there.
base::Result<std::unique_ptr<SharedRange>> reserve(std::uint64_t size, std::uint64_t like) {
    const std::uint64_t alignment = size >= (2 << 20) ? largest_page : memory::page_size;
    const std::uint64_t room = size + alignment;
    void* const mapping =
        mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) {
        return base::fail_errno(ENOMEM, "no room for {:#x} bytes of a client's memory", size);
    }
    auto* const bytes = static_cast<std::byte*>(mapping);
    const std::uint64_t shift =
        base::wrapping_sub(like, reinterpret_cast<std::uint64_t>(bytes)) & (alignment - 1);
    return std::make_unique<SharedRange>(bytes, room, bytes + shift, size);
}

bool cannot_shrink(int fd) {
    const int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

}  // namespace

std::optional<MapsLine> parse_maps_line(std::string_view line) {
    MapsLine result;
    const std::string_view whole = line;
    const auto begin = take_hex(line, '-');
    const auto end = begin ? take_hex(line, ' ') : std::nullopt;
    if (!end || *end <= *begin || line.size() < 5 || line[4] != ' ') {
        return std::nullopt;
    }
    result.begin = *begin;
    result.end = *end;
    result.name = whole.substr(0, static_cast<std::size_t>(line.data() - whole.data()) - 1);
    result.is_writable = line[1] == 'w';
    result.is_shared = line[3] == 's';
    line.remove_prefix(5);
    const auto offset = take_hex(line, ' ');
    if (!offset) {
        return std::nullopt;
    }
    result.file_offset = *offset;
    return result;
}

std::vector<MapsLine> find_shared_mappings(std::string_view maps, std::uint64_t begin,
                                           std::uint64_t end) {
    std::vector<MapsLine> found;
    std::uint64_t next = begin;
    while (!maps.empty() && next < end) {
        const std::size_t line_end = std::min(maps.find('\n'), maps.size());
        const auto line = parse_maps_line(maps.substr(0, line_end));
        maps.remove_prefix(std::min(line_end + 1, maps.size()));
        if (!line || line->end <= next) {
            continue;
        }
        if (line->begin > next || !line->is_shared || !line->is_writable) {
            return {};
        }
        next = line->end;
        found.push_back(*line);
    }
    return next >= end ? found : std::vector<MapsLine>{};
}

base::Result<pid_t> LinuxProcess::process() const {
    CUPULE_TRY_ASSIGN(const std::string status, read_text(fmt::format("/proc/{}/status", thread_)));
    constexpr std::string_view key = "\nTgid:\t";
    const std::size_t place = status.find(key);
    if (place == std::string::npos) {
        return thread_;
    }
    std::string_view figures = std::string_view(status).substr(place + key.size());
    const auto id = base::take_number<std::uint32_t>(figures).value_or(0);
    return id > 0 ? static_cast<pid_t>(id) : thread_;
}

base::Result<std::unique_ptr<SharedRange>> LinuxProcess::share(std::uint64_t address,
                                                               std::uint64_t size,
                                                               Need need) const {
    CUPULE_TRY_ASSIGN(const std::string maps, read_text(fmt::format("/proc/{}/maps", thread_)));
    const std::vector<MapsLine> lines = find_shared_mappings(maps, address, address + size);
    if (lines.empty()) {
        return base::fail_errno(
            EFAULT, "{:#x} bytes at {:#x} of process {} are not shared memory (memfd, hugetlbfs)",
            size, address, thread_);
    }
    CUPULE_TRY_ASSIGN(auto range, reserve(size, address));
    for (const MapsLine& line : lines) {
        CUPULE_TRY_ASSIGN(
            const base::FileDescriptor file,
            base::open_file(fmt::format("/proc/{}/map_files/{}", thread_, line.name), O_RDWR));
        if (need == Need::lasting && !cannot_shrink(file.get())) {
            return base::fail_errno(EPERM, "the memory at {:#x} of process {} can shrink", address,
                                    thread_);
        }
        const std::uint64_t begin = std::max(line.begin, address);
        const std::uint64_t end = std::min(line.end, address + size);
        void* const mapped =
            mmap(range->data() + (begin - address), end - begin, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED | MAP_NORESERVE, file.get(),
                 static_cast<off_t>(line.file_offset + (begin - line.begin)));
        if (mapped == MAP_FAILED) {
            return base::fail_errno(errno, "cannot map the memory at {:#x} of process {}", begin,
                                    thread_);
        }
    }
    return range;
}

base::Result<base::FileDescriptor> LinuxProcess::take_descriptor(int fd) const {
    CUPULE_TRY_ASSIGN(const pid_t id, process());
    // As system calls: the header that Debian 12's C library has for them does not work in C++.
    const base::FileDescriptor handle(static_cast<int>(syscall(SYS_pidfd_open, id, 0)));
    if (!handle) {
        return base::fail_errno(errno, "cannot reach process {}", id);
    }
    base::FileDescriptor taken(static_cast<int>(syscall(SYS_pidfd_getfd, handle.get(), fd, 0)));
    if (!taken) {
        return base::fail_errno(errno, "cannot take descriptor {} of process {}", fd, id);
    }
    return taken;
}

}  // namespace cupule::hsm
