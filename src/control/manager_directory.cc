#include "control/manager_directory.h"

#include <dirent.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <utility>
#include <vector>

#include "backend/unix_socket.h"
#include "base/log.h"
#include "base/text.h"

namespace cupule::control {
namespace {

constexpr std::string_view infix = ".monitor.";
constexpr std::string_view suffix = ".socket";

base::Result<void> make_directory(const std::string& path) {
    constexpr mode_t mode = 0755;
    if (mkdir(path.c_str(), mode) < 0 && errno != EEXIST) {
        return base::fail_errno(errno, "cannot make the directory '{}'", path);
    }
    return {};
}

/// The process of a socket's file name; 0 where it is none of the kind.
pid_t process_of(std::string_view name) {
    const auto middle = name.rfind(infix);
    if (middle == std::string_view::npos || middle == 0 || !name.ends_with(suffix)) {
        return 0;
    }
    const std::string_view digits =
        name.substr(middle + infix.size(), name.size() - suffix.size() - middle - infix.size());
    const auto pid = base::to_number<std::uint32_t>(digits);
    return pid && std::in_range<pid_t>(*pid) ? static_cast<pid_t>(*pid) : 0;
}

bool is_stale(const std::string& path, pid_t pid) {
    struct stat status {};
    if (lstat(path.c_str(), &status) < 0 || !S_ISSOCK(status.st_mode) || kill(pid, 0) == 0 ||
        errno != ESRCH) {
        return false;
    }
    const auto server = backend::connect_unix(path);
    return !server && server.error().code == ECONNREFUSED;
}

}  // namespace

std::string manager_socket_path(std::string_view directory, std::string_view vm_name, pid_t pid) {
    return fmt::format("{}/{}{}{}{}", directory, vm_name, infix, pid, suffix);
}

base::Result<void> prepare_manager_directory(const std::string& directory) {
    const auto slash = directory.rfind('/');
    if (slash != std::string::npos && slash != 0) {
        CUPULE_TRY(make_directory(directory.substr(0, slash)));
    }
    CUPULE_TRY(make_directory(directory));
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(directory.c_str()), closedir);
    if (!entries) {
        return base::fail_errno(errno, "cannot look into '{}'", directory);
    }
    std::vector<std::string> stale;
    for (const dirent* entry = readdir(entries.get()); entry != nullptr;
         entry = readdir(entries.get())) {
        const std::string path = fmt::format("{}/{}", directory, entry->d_name);
        const pid_t pid = process_of(entry->d_name);
        if (pid != 0 && is_stale(path, pid)) {
            stale.push_back(path);
        }
    }
    for (const std::string& path : stale) {
        base::log_info("'{}' is left from a process that is gone: removed", path);
        unlink(path.c_str());
    }
    return {};
}

}  // namespace cupule::control
