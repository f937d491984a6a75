#include "io/address_space.h"

#include <algorithm>

#include "base/assert.h"

namespace cupule::io {

struct AddressSpace::Mapping {
    IoRange range;
    RangeId id{};
    bool fixed = false;

    std::uint64_t last() const { return range.base + (range.size - 1); }
};

struct AddressSpace::Table {
    std::vector<Visible> visible;
    /// Keeps the names alive that `visible` points to.
    std::vector<std::shared_ptr<const Mapping>> mappings;
};

namespace {

using Visible = AddressSpace::Visible;

/// Adds the parts of `piece` that `table` (ascending, disjoint) leaves free.
void add_uncovered(std::vector<Visible>& table, Visible piece) {
    std::vector<Visible> added;
    std::uint64_t next = piece.base;
    bool done = false;
    for (const Visible& taken : table) {
        if (taken.last < next) {
            continue;
        }
        if (taken.base > piece.last) {
            break;
        }
        if (taken.base > next) {
            Visible part = piece;
            part.base = next;
            part.last = taken.base - 1;
            added.push_back(part);
        }
        if (taken.last >= piece.last) {
            done = true;
            break;
        }
        next = taken.last + 1;
    }
    if (!done) {
        piece.base = next;
        added.push_back(piece);
    }
    table.insert(table.end(), added.begin(), added.end());
    std::ranges::sort(table, {}, &Visible::base);
}

}  // namespace

AddressSpace::AddressSpace(std::string name, std::uint64_t last_address, unsigned readers)
    : name_(std::move(name)),
      last_address_(last_address),
      readers_(readers),
      slots_(std::make_unique<Slot[]>(readers)) {
    event::MutexLock lock(mutex_);
    auto empty = std::make_unique<const Table>();
    current_.store(empty.get());
    tables_.push_back(std::move(empty));
}

AddressSpace::~AddressSpace() = default;

bool AddressSpace::in_space(const IoRange& range) const {
    return range.size != 0 && range.base <= last_address_ &&
           range.size - 1 <= last_address_ - range.base;
}

base::Result<RangeId> AddressSpace::map_fixed(IoRange range) {
    if (!in_space(range)) {
        return base::fail(
            "{}: '{}' at {:#x} with {:#x} bytes leaves the {} space (last address {:#x})", name_,
            range.name, range.base, range.size, name_, last_address_);
    }
    event::MutexLock lock(mutex_);
    for (const auto& other : mappings_) {
        const bool apart =
            range.base > other->last() || range.base + (range.size - 1) < other->range.base;
        if (other->fixed && !apart) {
            return base::fail("{}: '{}' at {:#x}-{:#x} overlaps '{}' at {:#x}-{:#x}", name_,
                              range.name, range.base, range.base + (range.size - 1),
                              other->range.name, other->range.base, other->last());
        }
    }
    return insert(std::move(range), true);
}

std::optional<RangeId> AddressSpace::map_movable(IoRange range) {
    if (!in_space(range)) {
        return std::nullopt;
    }
    event::MutexLock lock(mutex_);
    return insert(std::move(range), false);
}

RangeId AddressSpace::insert(IoRange range, bool fixed) {
    CUPULE_ASSERT(range.handler != nullptr);
    const RangeId id{next_id_++};
    mappings_.push_back(std::make_shared<const Mapping>(std::move(range), id, fixed));
    rebuild();
    return id;
}

void AddressSpace::unmap(RangeId id) {
    event::MutexLock lock(mutex_);
    std::erase_if(mappings_, [&](const auto& mapping) { return mapping->id == id; });
    rebuild();
}

void AddressSpace::rebuild() {
    auto table = std::make_unique<Table>();
    table->mappings = mappings_;
    for (const bool fixed : {true, false}) {
        for (const auto& mapping : mappings_) {
            if (mapping->fixed == fixed) {
                const IoRange& range = mapping->range;
                add_uncovered(table->visible, {.base = range.base,
                                               .last = mapping->last(),
                                               .handler_base = range.base,
                                               .handler = range.handler,
                                               .monitor = range.monitor,
                                               .name = &range.name});
            }
        }
    }
    current_.store(table.get());
    tables_.push_back(std::move(table));
    // The store above and the loads below are sequentially consistent, as are the two in lookup():
    // a reader that announced an old table too late for us to see re-reads current_ and drops it.
    std::erase_if(tables_, [&](const std::unique_ptr<const Table>& old) {
        if (old.get() == current_.load()) {
            return false;
        }
        return std::none_of(slots_.get(), slots_.get() + readers_,
                            [&](const Slot& slot) { return slot.table.load() == old.get(); });
    });
}

AddressSpace::Lookup AddressSpace::lookup(unsigned reader) const {
    CUPULE_ASSERT(reader < readers_);
    std::atomic<const void*>& slot = slots_[reader].table;
    const Table* table = current_.load();
    for (;;) {
        slot.store(table);
        const Table* again = current_.load();
        if (again == table) {
            return Lookup(slot, table->visible);
        }
        table = again;
    }
}

const AddressSpace::Visible* AddressSpace::Lookup::find(std::uint64_t address,
                                                        unsigned size) const {
    const auto after = std::ranges::upper_bound(table_, address, {}, &Visible::base);
    if (after == table_.begin()) {
        return nullptr;
    }
    const Visible& range = *(after - 1);
    if (address > range.last || size - 1 > range.last - address) {
        return nullptr;
    }
    return &range;
}

std::vector<std::string> AddressSpace::describe() const {
    event::MutexLock lock(mutex_);
    std::vector<std::string> lines;
    for (const Visible& visible : current_.load()->visible) {
        lines.push_back(fmt::format("{:x}-{:x} {}", visible.base, visible.last, *visible.name));
    }
    return lines;
}

}  // namespace cupule::io
