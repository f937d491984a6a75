#include "hsm/client_process.h"

#include <sys/mman.h>
#include <sys/uio.h>

namespace cupule::hsm {

SharedRange::~SharedRange() {
    munmap(mapping_, mapped_size_);
}

bool LinuxProcess::read(std::uint64_t address, std::span<std::byte> to) const {
    const iovec local{.iov_base = to.data(), .iov_len = to.size()};
    const iovec remote{.iov_base = reinterpret_cast<void*>(address), .iov_len = to.size()};
    return process_vm_readv(thread_, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(to.size());
}

bool LinuxProcess::write(std::uint64_t address, std::span<const std::byte> from) const {
    // The kernel only reads what `local` points to; its type cannot say so.
    const iovec local{.iov_base = const_cast<std::byte*>(from.data()), .iov_len = from.size()};
    const iovec remote{.iov_base = reinterpret_cast<void*>(address), .iov_len = from.size()};
    return process_vm_writev(thread_, &local, 1, &remote, 1, 0) ==
           static_cast<ssize_t>(from.size());
}

std::shared_ptr<const ClientProcess> LinuxProcess::keep() const {
    // The thread that asks may end before the process does.
    const auto main_thread = process();
    return std::make_shared<LinuxProcess>(main_thread ? *main_thread : thread_);
}

}  // namespace cupule::hsm
