#include "acpi/table_set.h"

#include <algorithm>
#include <utility>

#include "acpi/dsdt.h"
#include "acpi/tables.h"
#include "base/assert.h"

namespace cupule::acpi {

namespace {

/// Hands out addresses one after the other and collects the tables.
class Layout {
  public:
    explicit Layout(std::uint32_t first_address) : next_(first_address) {}

    /// Places a table and returns its address.
    std::uint32_t place(Table table, std::uint32_t alignment = 16) {
        const std::uint64_t address = (next_ + alignment - 1) & ~std::uint64_t{alignment - 1};
        next_ = address + table.bytes.size();
        // An address beyond 4 GiB never leaves this file: the set has failed by then.
        const auto address_32 = static_cast<std::uint32_t>(address);
        tables_.push_back({std::move(table.name), address_32, std::move(table.bytes)});
        return address_32;
    }

    void replace_bytes(std::size_t index, Table table) {
        CUPULE_ASSERT(tables_[index].bytes.size() == table.bytes.size());
        tables_[index].bytes = std::move(table.bytes);
    }

    [[nodiscard]] std::uint64_t end() const { return next_; }
    [[nodiscard]] std::vector<PlacedTable> take() && { return std::move(tables_); }

  private:
    std::uint64_t next_;
    std::vector<PlacedTable> tables_;
};

/// Places every table that the RSDT lists and returns their addresses in its order.
std::vector<std::uint32_t> place_listed(Layout& layout, const PlatformDescription& platform) {
    constexpr std::uint32_t facs_alignment = 64;  // 5.2.10
    const std::uint32_t facs = layout.place(make_facs(), facs_alignment);
    const std::uint32_t dsdt = layout.place(make_dsdt(platform));
    std::vector<std::uint32_t> listed;
    listed.push_back(layout.place(make_fadt(platform, facs, dsdt)));  // must be the first: 5.2.7
    listed.push_back(layout.place(make_madt(platform)));
    if (platform.hpet) {
        listed.push_back(layout.place(make_hpet(*platform.hpet)));
    }
    if (platform.pci.ecam) {
        listed.push_back(layout.place(make_mcfg(*platform.pci.ecam)));
    }
    for (const Table& table : platform.extra_tables) {
        listed.push_back(layout.place(table));
    }
    return listed;
}

}  // namespace

const PlacedTable* TableSet::find(std::string_view name) const {
    const auto found = std::ranges::find(tables, name, &PlacedTable::name);
    return found == tables.end() ? nullptr : &*found;
}

base::Result<TableSet> make_table_set(const PlatformDescription& platform,
                                      std::uint32_t first_address, std::uint32_t end) {
    CUPULE_ASSERT(first_address % 16 == 0 && first_address < end);
    Layout layout(first_address);
    layout.place(make_rsdp(0, 0));
    const std::vector<std::uint32_t> listed = place_listed(layout, platform);
    const std::vector<std::uint64_t> listed_64(listed.begin(), listed.end());
    const std::uint32_t rsdt = layout.place(make_rsdt(listed));
    const std::uint32_t xsdt = layout.place(make_xsdt(listed_64));
    layout.replace_bytes(0, make_rsdp(rsdt, xsdt));
    if (layout.end() > end) {
        return base::fail(
            "the ACPI tables need {} bytes and have room for {}: give the machine fewer devices",
            layout.end() - first_address, end - first_address);
    }
    return TableSet{std::move(layout).take()};
}

}  // namespace cupule::acpi
