#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "event/mutex.h"
#include "io/io_handler.h"

namespace cupule::io {

/// A range of addresses and who answers there. `handler` and `monitor` must outlive the mapping and
/// every request under way when it ends. Without a monitor the handler guards itself: a router that
/// enters another's device (PCI configuration mechanisms), so that only one monitor is ever held.
struct IoRange {
    std::uint64_t base = 0;
    std::uint64_t size = 0;  // not zero; base + size - 1 does not wrap
    IoHandler* handler = nullptr;
    event::Monitor* monitor = nullptr;  // nullptr: entered without a lock
    std::string name;
};

/// Names one mapping for as long as it exists.
enum class RangeId : std::uint64_t {};

/// Which handler owns which addresses: ports, or guest physical addresses. Readers take no lock:
/// they look into an immutable sorted table that a writer replaces whole. A reader announces the
/// table it uses in its own slot (a hazard pointer); writers free tables that no slot names.
class AddressSpace {
  public:
    /// `readers`: how many threads look up at once at most; each uses its own slot number below
    /// that.
    AddressSpace(std::string name, std::uint64_t last_address, unsigned readers);
    ~AddressSpace();
    AddressSpace(const AddressSpace&) = delete;
    AddressSpace& operator=(const AddressSpace&) = delete;

    /// Maps a fixed range. Refused, naming both, when it overlaps another fixed range or leaves the
    /// space. Fixed ranges win over movable ones.
    base::Result<RangeId> map_fixed(IoRange range) CUPULE_EXCLUDES(mutex_);
    /// Maps a range whose place the guest chose (a BAR). Where ranges overlap the fixed one wins,
    /// then the one mapped first; hidden parts appear when the other goes. std::nullopt when it
    /// leaves the space.
    std::optional<RangeId> map_movable(IoRange range) CUPULE_EXCLUDES(mutex_);
    /// Ends a mapping. A request that is in the handler on another thread still finishes there.
    void unmap(RangeId id) CUPULE_EXCLUDES(mutex_);

    /// A visible piece of a range: [base, last], offset 0 of the handler at `handler_base`.
    struct Visible {
        std::uint64_t base = 0;
        std::uint64_t last = 0;
        std::uint64_t handler_base = 0;
        IoHandler* handler = nullptr;
        event::Monitor* monitor = nullptr;
        const std::string* name = nullptr;
    };

    /// Holds the table of a lookup alive until it is destroyed.
    class Lookup {
      public:
        Lookup(const Lookup&) = delete;
        Lookup& operator=(const Lookup&) = delete;
        ~Lookup() { slot_.store(nullptr, std::memory_order_release); }
        /// The range that holds all of [address, address + size), or nullptr.
        const Visible* find(std::uint64_t address, unsigned size) const;

      private:
        friend class AddressSpace;
        Lookup(std::atomic<const void*>& slot, std::span<const Visible> table)
            : slot_(slot), table_(table) {}
        std::atomic<const void*>& slot_;
        std::span<const Visible> table_;
    };

    /// Starts a lookup in `reader`'s slot; at most one per slot at a time.
    Lookup lookup(unsigned reader) const;

    /// All visible pieces in ascending order, for `--check`, traces and tests.
    std::vector<std::string> describe() const CUPULE_EXCLUDES(mutex_);

  private:
    struct Mapping;
    struct Table;
    /// Two cache lines: processors fetch them in pairs, and a neighbour's slot would travel along.
    struct alignas(128) Slot {
        std::atomic<const void*> table{nullptr};
    };

    RangeId insert(IoRange range, bool fixed) CUPULE_REQUIRES(mutex_);
    void rebuild() CUPULE_REQUIRES(mutex_);
    bool in_space(const IoRange& range) const;

    const std::string name_;
    const std::uint64_t last_address_;
    const unsigned readers_;
    std::unique_ptr<Slot[]> slots_;
    std::atomic<const Table*> current_;

    /// Guards the mappings and the tables' life. A leaf lock.
    mutable event::Mutex mutex_;
    std::vector<std::shared_ptr<const Mapping>> mappings_ CUPULE_GUARDED_BY(mutex_);
    std::vector<std::unique_ptr<const Table>> tables_ CUPULE_GUARDED_BY(mutex_);
    std::uint64_t next_id_ CUPULE_GUARDED_BY(mutex_) = 1;
};

}  // namespace cupule::io
