#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "memory/guest_memory.h"
#include "vhost_user/fault_guard.h"
#include "vhost_user/message.h"

namespace cupule::vhost_user {

/// A guest's RAM as a front end shares it.
class MemoryTable {
  public:
    /// Maps what a checked SET_MEM_TABLE describes.
    static base::Result<std::unique_ptr<MemoryTable>> map(const Message& message);

    const memory::GuestMemory& memory() const { return *memory_; }
    /// Where the front end's own address lies in the guest's RAM.
    std::optional<memory::GuestAddress> guest_address(std::uint64_t user_address) const;
    /// Whether the front end has cut a file of RAM short: what is read since is zeros.
    bool broken() const;

  private:
    MemoryTable() = default;

    std::vector<MemoryRegion> regions_;
    std::unique_ptr<memory::GuestMemory> memory_;
    std::vector<FaultGuard> guards_;
};

}  // namespace cupule::vhost_user
