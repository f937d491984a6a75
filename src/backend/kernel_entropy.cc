#include <sys/random.h>

#include <cerrno>

#include "backend/entropy_source.h"

namespace cupule::backend {

base::Result<void> KernelEntropy::fill(std::span<std::byte> to) {
    while (!to.empty()) {
        const ssize_t count = getrandom(to.data(), to.size(), 0);
        if (count > 0) {
            to = to.subspan(static_cast<std::size_t>(count));
        } else if (errno != EINTR) {
            return base::fail_errno(errno, "the kernel gives no random bytes");
        }
    }
    return {};
}

}  // namespace cupule::backend
