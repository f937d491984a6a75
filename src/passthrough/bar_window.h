#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/log.h"
#include "hypervisor/vm.h"
#include "io/io_handler.h"
#include "passthrough/host_device.h"
#include "pci/bar.h"

namespace cupule::passthrough {

/// A BAR of a passed-through function: its pieces are mapped straight into the guest wherever the
/// guest puts the BAR, so that accesses there make no exit; all else is answered here, by the
/// device or, inside an overlay (the MSI-X structures), by the emulation. Called with the
/// function's monitor held.
class BarWindow : public io::IoHandler, public pci::BarMapper {
  public:
    /// Both outlive this.
    BarWindow(hypervisor::MemoryMapper& mapper, HostDevice& host, unsigned bar);
    ~BarWindow() override;
    BarWindow(const BarWindow&) = delete;
    BarWindow& operator=(const BarWindow&) = delete;

    /// [offset, offset + size) is `handler`'s, and the pages it touches are trapped. Before the
    /// BAR is first mapped.
    void overlay(std::uint64_t offset, std::uint64_t size, io::IoHandler& handler);

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::string_view register_name(std::uint64_t offset) const override;
    void bar_moved(unsigned bar, std::optional<std::uint64_t> address) override;

    /// Guest accesses that were answered here.
    std::uint64_t trapped() const { return trapped_; }
    /// Bytes that the guest reaches without an exit now.
    std::uint64_t mapped_size() const;

  private:
    struct Overlay {
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
        io::IoHandler* handler = nullptr;
    };
    struct Mapping {
        std::uint64_t address = 0;
        std::uint64_t size = 0;
    };

    const Overlay* find(std::uint64_t offset, unsigned size) const;
    void unmap_all();
    void map_free(std::uint64_t address, const BarPiece& piece);

    hypervisor::MemoryMapper& mapper_;
    HostDevice& host_;
    const unsigned bar_;
    std::vector<Overlay> overlays_;
    std::vector<Mapping> mappings_;
    std::uint64_t trapped_ = 0;
    base::HostFault not_unmapped_;
    base::GuestFault hidden_{"passthru", "a BAR lies on other memory, its accesses are slow: at"};
};

}  // namespace cupule::passthrough
