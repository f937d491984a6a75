#include "hsm/shared_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "base/bits.h"
#include "hsm/vm_registry.h"

namespace cupule::hsm {

base::Result<std::unique_ptr<SharedMemory>> SharedMemory::create(std::uint64_t size,
                                                                 event::EventLoop& loop) {
    constexpr std::uint64_t size_min = std::uint64_t{2} << 20;
    constexpr std::uint64_t size_max = std::uint64_t{512} << 20;
    if (size < size_min || size > size_max || !base::is_power_of_two(size)) {
        return base::fail("{} MiB of shared memory: a power of two from 2 to 512 is wanted",
                          size >> 20);
    }
    void* const pages = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
        return base::fail_errno(errno, "cannot map {} MiB of shared memory", size >> 20);
    }
    return std::unique_ptr<SharedMemory>(
        new SharedMemory(static_cast<std::byte*>(pages), size, loop));
}

SharedMemory::~SharedMemory() {
    munmap(data_, size_);
}

bool SharedMemory::join(std::uint16_t peer, Bell bell) {
    event::MutexLock lock(mutex_);
    return peers_.emplace(peer, std::move(bell)).second;
}

void SharedMemory::leave(std::uint16_t peer) {
    event::MutexLock lock(mutex_);
    peers_.erase(peer);
}

void SharedMemory::ring(std::uint16_t peer, unsigned vector) {
    if (peer > VmRegistry::vms_max) {
        return;
    }
    {
        event::MutexLock lock(ringing_mutex_);
        if (!ringing_.emplace(peer, vector).second) {
            return;
        }
    }
    // Who rings holds its own monitor; the other's is taken by the loop.
    loop_.post([this, peer, vector] {
        {
            event::MutexLock lock(ringing_mutex_);
            ringing_.erase({peer, vector});
        }
        event::MutexLock lock(mutex_);
        const auto found = peers_.find(peer);
        if (found != peers_.end()) {
            found->second(vector);
        }
    });
}

}  // namespace cupule::hsm
