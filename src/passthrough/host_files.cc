#include "passthrough/host_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <climits>

#include "base/file_descriptor.h"

namespace cupule::passthrough {

std::string read_host_bytes(const std::string& path) {
    std::string bytes;
    const auto fd = base::open_file(path, O_RDONLY);
    std::array<char, 4096> buffer{};
    ssize_t count = fd ? ::read(fd->get(), buffer.data(), buffer.size()) : 0;
    while (count > 0) {
        bytes.append(buffer.data(), static_cast<std::size_t>(count));
        count = ::read(fd->get(), buffer.data(), buffer.size());
    }
    return bytes;
}

std::string read_host_text(const std::string& path) {
    std::string text = read_host_bytes(path);
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    return text;
}

std::string host_link(const std::string& path) {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t length = readlink(path.c_str(), buffer.data(), buffer.size());
    return {buffer.data(), length > 0 ? static_cast<std::size_t>(length) : 0};
}

std::string host_link_name(const std::string& path) {
    const std::string target = host_link(path);
    return std::string(base::after_last(target, '/'));
}

std::string_view next_line(std::string_view& rest) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    return line;
}

}  // namespace cupule::passthrough
