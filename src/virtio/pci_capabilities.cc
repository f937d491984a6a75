// The capabilities a driver finds the structures by, the BARs they lie in, and the window through
// configuration space (Virtio 1.3, 4.1.4, 4.1.4.9).

#include <array>
#include <bit>

#include "base/bits.h"
#include "virtio/pci_transport.h"

namespace cupule::virtio {
namespace {

using namespace pci_layout;

constexpr std::uint8_t vendor_capability = 0x09;
constexpr std::uint64_t msix_bar_size_min = 0x1000;

// struct virtio_pci_cap, counted from the capability's start; its body begins behind the header.
constexpr std::size_t header_size = 2;
constexpr std::uint16_t bar_field = 4;
constexpr std::uint16_t offset_field = 8;
constexpr std::uint16_t length_field = 12;
constexpr std::uint16_t data_field = 16;
constexpr std::size_t plain_size = 16;
constexpr std::size_t long_size = 20;

using Body = std::array<std::uint8_t, long_size - header_size>;

void put(Body& body, std::uint16_t field, std::uint32_t value) {
    for (unsigned i = 0; i < sizeof value; ++i) {
        body[field - header_size + i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
}

Body describe(std::uint8_t type, std::size_t size, std::uint8_t bar, std::uint32_t offset,
              std::uint32_t length) {
    Body body{};
    body[0] = static_cast<std::uint8_t>(size);
    body[1] = type;
    body[bar_field - header_size] = bar;
    put(body, offset_field, offset);
    put(body, length_field, length);
    return body;
}

}  // namespace

void PciTransport::add_msix() {
    const auto vectors = static_cast<unsigned>(slots_.size()) + 1;
    const auto half = std::bit_ceil(pci::Msix::table_size(vectors));
    msix_ = std::make_unique<pci::Msix>(
        function_, powers_.messages,
        pci::MsixLayout{.vectors = vectors,
                        .table_bar = msix_bar,
                        .table_offset = 0,
                        .pba_bar = msix_bar,
                        .pba_offset = static_cast<std::uint32_t>(half)});
    msix_regions_.add(0, pci::Msix::table_size(vectors), msix_->table());
    msix_regions_.add(half, pci::Msix::pba_size(vectors), msix_->pba());
    function_.add_bar(msix_bar, {.kind = pci::BarKind::memory_32,
                                 .size = std::max(2 * half, msix_bar_size_min),
                                 .handler = &msix_regions_});
}

void PciTransport::add_capabilities() {
    if (powers_.msi_only) {
        msi_ = std::make_unique<pci::Msi>(function_, powers_.messages, 1);
    } else {
        add_msix();
    }
    if (powers_.model == PciTransportModel::legacy) {
        return;
    }
    struct Structure {
        std::uint8_t type;
        std::uint32_t offset;
        std::uint32_t length;
    };
    const auto region = static_cast<std::uint32_t>(region_size);
    constexpr std::uint8_t bar = structures_bar;
    for (const Structure& each :
         {Structure{common_type, common_offset, region}, Structure{isr_type, isr_offset, region},
          Structure{device_type, device_offset, region}}) {
        const Body body = describe(each.type, plain_size, bar, each.offset, each.length);
        function_.config().add_capability(vendor_capability,
                                          std::span(body).first(plain_size - header_size), {});
    }
    Body notify = describe(notify_type, long_size, bar, notify_offset, region);
    put(notify, data_field, notify_multiplier);
    function_.config().add_capability(vendor_capability, notify, {});

    Body writable{};
    writable[bar_field - header_size] = 0xFF;
    put(writable, offset_field, ~std::uint32_t{0});
    put(writable, length_field, ~std::uint32_t{0});
    put(writable, data_field, ~std::uint32_t{0});
    window_ = function_.config().add_capability(
        vendor_capability, describe(window_type, long_size, 0, 0, 0), writable);
}

void PciTransport::add_bars() {
    if (!modern()) {
        function_.add_bar(legacy_bar, {.kind = pci::BarKind::io,
                                       .size = legacy_bar_size,
                                       .handler = &legacy_,
                                       .mapper = this});
    }
    if (powers_.model == PciTransportModel::legacy) {
        return;
    }
    structures_.add(common_offset, region_size, common_);
    structures_.add(isr_offset, region_size, isr_);
    structures_.add(device_offset, region_size, device_region_);
    structures_.add(notify_offset, region_size, notify_);
    function_.add_bar(structures_bar, {.kind = pci::BarKind::memory_64,
                                       .size = structures_size,
                                       .handler = &structures_,
                                       .mapper = this});
}

std::optional<PciTransport::WindowAccess> PciTransport::window_access() const {
    const pci::ConfigSpace& config = function_.config();
    const auto at = [this](std::uint16_t field) {
        return static_cast<std::uint16_t>(window_ + field);
    };
    const auto bar = config.get<std::uint8_t>(at(bar_field));
    const auto offset = config.get<std::uint32_t>(at(offset_field));
    const auto length = config.get<std::uint32_t>(at(length_field));
    const bool natural =
        (length == 1 || length == 2 || length == 4) && base::is_aligned(offset, length);
    if (bar != structures_bar || !natural || !base::contains(0, structures_size, offset, length)) {
        return std::nullopt;
    }
    return WindowAccess{.offset = offset, .size = length};
}

void PciTransport::config_reading(std::uint64_t offset, unsigned /*size*/) {
    if (window_ == 0 || offset != window_ + std::uint64_t{data_field}) {
        return;
    }
    if (const auto access = window_access()) {
        const std::uint64_t value = structures_.read(access->offset, access->size);
        function_.config().set(static_cast<std::uint16_t>(window_ + data_field),
                               static_cast<std::uint32_t>(value));
    }
}

void PciTransport::config_written(std::uint64_t offset, unsigned size) {
    if (offset < pci::config::status && offset + size > pci::config::command) {
        follow_bus_master();
        return;
    }
    if (window_ == 0 || offset != window_ + std::uint64_t{data_field}) {
        return;
    }
    const auto access = window_access();
    if (access && size >= access->size) {
        const auto data =
            function_.config().get<std::uint32_t>(static_cast<std::uint16_t>(window_ + data_field));
        structures_.write(access->offset, access->size, data & base::ones(access->size));
    }
}

}  // namespace cupule::virtio
