#include "passthrough/bar_window.h"

#include <algorithm>

#include "base/bits.h"
#include "memory/page.h"

namespace cupule::passthrough {
namespace {

bool is_natural(std::uint64_t offset, unsigned size) {
    return base::is_power_of_two(size) && size <= 8 && base::is_aligned(offset, size);
}

}  // namespace

BarWindow::BarWindow(hypervisor::MemoryMapper& mapper, HostDevice& host, unsigned bar)
    : mapper_(mapper), host_(host), bar_(bar) {}

BarWindow::~BarWindow() {
    unmap_all();
}

void BarWindow::overlay(std::uint64_t offset, std::uint64_t size, io::IoHandler& handler) {
    overlays_.push_back({.offset = offset, .size = size, .handler = &handler});
}

const BarWindow::Overlay* BarWindow::find(std::uint64_t offset, unsigned size) const {
    const auto found = std::ranges::find_if(overlays_, [&](const Overlay& one) {
        return offset < one.offset + one.size && one.offset < offset + size;
    });
    return found != overlays_.end() ? &*found : nullptr;
}

std::uint64_t BarWindow::read(std::uint64_t offset, unsigned size) {
    ++trapped_;
    if (const Overlay* over = find(offset, size)) {
        return base::contains(over->offset, over->size, offset, size)
                   ? over->handler->read(offset - over->offset, size)
                   : base::ones(size);
    }
    if (is_natural(offset, size)) {
        return host_.read_bar(bar_, offset, size);
    }
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        value |= (host_.read_bar(bar_, offset + i, 1) & 0xFF) << (8 * i);
    }
    return value;
}

void BarWindow::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    ++trapped_;
    if (const Overlay* over = find(offset, size)) {
        if (base::contains(over->offset, over->size, offset, size)) {
            over->handler->write(offset - over->offset, size, value);
        }
        return;
    }
    if (is_natural(offset, size)) {
        host_.write_bar(bar_, offset, size, value);
        return;
    }
    for (unsigned i = 0; i < size; ++i) {
        host_.write_bar(bar_, offset + i, 1, (value >> (8 * i)) & 0xFF);
    }
}

std::string_view BarWindow::register_name(std::uint64_t offset) const {
    const Overlay* over = find(offset, 1);
    return over != nullptr ? over->handler->register_name(offset - over->offset)
                           : std::string_view{};
}

void BarWindow::bar_moved(unsigned /*bar*/, std::optional<std::uint64_t> address) {
    unmap_all();
    // A BAR smaller than a page, put beside others, has no page of its own to map.
    if (!address || !base::is_aligned(*address, memory::page_size)) {
        return;
    }
    for (const BarPiece& piece : host_.bar(bar_).pieces) {
        map_free(*address, piece);
    }
}

void BarWindow::map_free(std::uint64_t address, const BarPiece& piece) {
    // The pages of the overlays cut the piece.
    std::uint64_t first = piece.offset;
    const std::uint64_t end = piece.offset + piece.size;
    std::vector<Overlay> cuts = overlays_;
    std::ranges::sort(cuts, {}, &Overlay::offset);
    cuts.push_back({.offset = end});
    for (const Overlay& cut : cuts) {
        const std::uint64_t last =
            std::min(end, base::align_down(std::max(cut.offset, first), memory::page_size));
        if (last > first) {
            const auto mapped =
                mapper_.map({address + first}, last - first, piece.host + (first - piece.offset),
                            hypervisor::MemoryAccess::read_write);
            if (mapped) {
                mappings_.push_back({.address = address + first, .size = last - first});
            } else {
                hidden_.report(address + first);
            }
        }
        first = std::max(first, base::align_up(cut.offset + cut.size, memory::page_size));
    }
}

void BarWindow::unmap_all() {
    for (const Mapping& mapping : mappings_) {
        if (const auto unmapped = mapper_.unmap({mapping.address}); !unmapped) {
            not_unmapped_.report("{}: {}", host_.name(), unmapped.error().message);
        }
    }
    mappings_.clear();
}

std::uint64_t BarWindow::mapped_size() const {
    std::uint64_t size = 0;
    for (const Mapping& mapping : mappings_) {
        size += mapping.size;
    }
    return size;
}

}  // namespace cupule::passthrough
