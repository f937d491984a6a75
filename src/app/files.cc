#include "app/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/file_descriptor.h"

namespace cupule::app {

base::Result<std::string> read_file(const std::string& path) {
    constexpr std::size_t size_max = std::size_t{4} << 20;
    CUPULE_TRY_ASSIGN(const base::FileDescriptor file, base::open_file(path, O_RDONLY));
    std::string text;
    std::array<char, 4096> buffer{};
    while (text.size() < size_max) {
        const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return base::fail_errno(errno, "cannot read '{}'", path);
        }
        if (count == 0) {
            break;
        }
        text.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return text;
}

base::Result<std::uint64_t> readable_file_size(const std::string& path) {
    // Without O_NONBLOCK a FIFO would hold us here.
    CUPULE_TRY_ASSIGN(const base::FileDescriptor file,
                      base::open_file(path, O_RDONLY | O_NONBLOCK));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) {
        return base::fail_errno(errno, "cannot examine '{}'", path);
    }
    if (S_ISBLK(status.st_mode)) {
        const off_t end = ::lseek(file.get(), 0, SEEK_END);
        return end < 0 ? 0 : static_cast<std::uint64_t>(end);
    }
    if (!S_ISREG(status.st_mode)) {
        return base::fail("'{}' is no regular file", path);
    }
    return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace cupule::app
