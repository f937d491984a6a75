#include "passthrough/dma_domain.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/bits.h"

namespace cupule::passthrough {
namespace {

/// As map_guest_memory for one region; `done` is how much is mapped, also on failure.
base::Result<void> map_region(DmaDomain& domain, const memory::RamRegion& region,
                              const std::atomic<bool>& stopping, std::uint64_t& done) {
    while (done < region.size) {
        if (stopping) {
            return base::fail("the mapping of guest memory was given up");
        }
        // Pieces end at multiples of their size, whatever the region begins with.
        const std::uint64_t from = region.base.value + done;
        const std::uint64_t end = std::min(base::align_down(from, dma_piece_size) + dma_piece_size,
                                           region.base.value + region.size);
        CUPULE_TRY(domain.map({from}, end - from, region.host + done));
        done += end - from;
    }
    return {};
}

/// CAP_IPC_LOCK, with which there is no limit (capabilities(7)).
bool may_lock_all() {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
    return syscall(SYS_capget, &header, data.data()) == 0 &&
           (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

}  // namespace

base::Result<void> map_guest_memory(DmaDomain& domain, const memory::GuestMemory& memory,
                                    const std::atomic<bool>& stopping) {
    const std::span<const memory::RamRegion> regions = memory.regions();
    for (std::size_t i = 0; i < regions.size(); ++i) {
        std::uint64_t done = 0;
        auto mapped = map_region(domain, regions[i], stopping, done);
        if (mapped) {
            continue;
        }
        // The first refusal is what the user has to hear of.
        for (const memory::RamRegion& before : regions.first(i)) {
            static_cast<void>(domain.unmap(before.base, before.size));
        }
        if (done > 0) {
            static_cast<void>(domain.unmap(regions[i].base, done));
        }
        return mapped;
    }
    return {};
}

base::Result<void> unmap_guest_memory(DmaDomain& domain, const memory::GuestMemory& memory) {
    base::Result<void> result;
    for (const memory::RamRegion& region : memory.regions()) {
        if (auto unmapped = domain.unmap(region.base, region.size); !unmapped) {
            result = std::unexpected(unmapped.error());
        }
    }
    return result;
}

base::Result<void> check_locked_memory(std::uint64_t size) {
    rlimit limit{};
    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur >= size || may_lock_all()) {
        return {};
    }
    return base::fail(
        "all {} MiB of guest memory are kept in memory for the device, and this process may keep "
        "{} KiB: raise `ulimit -l` (RLIMIT_MEMLOCK), or run as root",
        size >> 20, limit.rlim_cur >> 10);
}

}  // namespace cupule::passthrough
