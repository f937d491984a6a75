#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "memory/guest_memory.h"
#include "passthrough/host_device.h"

namespace cupule::passthrough {

/// What a device in software is: its configuration space with the bits that can be written, and
/// one register block with a DMA engine.
struct SoftwareModel {
    std::string name;
    /// 256 or 4096 bytes, and as many masks.
    std::vector<std::uint8_t> config;
    std::vector<std::uint8_t> writable;
    unsigned intx = 0;
    unsigned msi = 0;
    unsigned msix = 0;
    /// The BAR with SoftwareRegisters, and the pages of it that may be mapped.
    unsigned bar = 0;
    std::uint64_t bar_size = 0x4000;
    std::uint64_t mapped_offset = 0x1000;
    std::uint64_t mapped_size = 0x1000;
    /// Configuration space of the root port above it; empty: it is on a root bus.
    std::vector<std::uint8_t> port_config{};
};

/// The registers of a SoftwareDevice: 32-bit but for the addresses.
struct SoftwareRegisters {
    static constexpr std::uint64_t identity = 0x00;     // reads identity_value
    static constexpr std::uint64_t scratch = 0x04;      // keeps what is written
    static constexpr std::uint64_t source = 0x08;       // 64 bits, guest physical
    static constexpr std::uint64_t destination = 0x10;  // 64 bits
    static constexpr std::uint64_t length = 0x18;       // bytes, up to length_max
    static constexpr std::uint64_t start = 0x1C;        // copies, then sends this vector
    static constexpr std::uint64_t status = 0x20;       // 1: done, 2: blocked
    static constexpr std::uint64_t interrupt = 0x24;    // sends this vector
    static constexpr std::uint64_t failure = 0x28;      // an error that nobody corrects
    static constexpr std::uint64_t acknowledge = 0x2C;  // INTx falls
    static constexpr std::uint32_t identity_value = 0x6375'7064;
    static constexpr std::uint32_t length_max = 4096;
    static constexpr std::uint32_t done = 1;
    static constexpr std::uint32_t blocked = 2;
};

/// A HostDevice without hardware, for tests and for trying things out where there is none. Its DMA
/// reaches guest RAM and nothing else: what goes elsewhere is blocked and reported, as by an IOMMU.
/// INTx is a level until it is acknowledged, masked by each signal as by VFIO; that it was ended
/// (the resample eventfd) is found at the next access of any kind.
class SoftwareDevice : public HostDevice {
  public:
    /// `memory` outlives the device.
    static base::Result<std::unique_ptr<SoftwareDevice>> create(SoftwareModel model,
                                                                const memory::GuestMemory& memory);
    ~SoftwareDevice() override;

    const std::string& name() const override { return model_.name; }
    unsigned config_size() const override { return static_cast<unsigned>(model_.config.size()); }
    std::uint64_t read_config(std::uint64_t offset, unsigned size) override;
    void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    const HostBar& bar(unsigned bar) const override { return bars_[bar]; }
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override;
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override;
    unsigned interrupts(HostInterrupt kind) const override;
    base::Result<void> enable(HostInterrupt kind, unsigned vectors) override;
    base::Result<void> connect(HostInterrupt kind, unsigned vector, int eventfd,
                               int resample_eventfd) override;
    void disable(HostInterrupt kind) override;
    bool resettable() const override { return true; }
    base::Result<void> reset() override;
    int loss_eventfd(HostLoss loss) const override;
    void release() override;

    // For tests.

    /// Interrupts as the hardware would: what is connected is signalled. INTx stands until
    /// SoftwareRegisters::acknowledge.
    void interrupt(unsigned vector);
    std::byte* mapped_page() const { return page_; }
    unsigned resets() const { return resets_; }
    bool released() const { return released_; }
    std::uint64_t blocked_copies() const { return blocked_.count(); }

  private:
    SoftwareDevice(SoftwareModel model, const memory::GuestMemory& memory)
        : model_(std::move(model)), config_(model_.config), memory_(memory) {}

    void copy();
    bool masters_bus();
    void settle_intx();

    struct State {
        std::uint32_t scratch = 0;
        std::uint64_t source = 0;
        std::uint64_t destination = 0;
        std::uint32_t length = 0;
        std::uint32_t status = 0;
        bool intx = false;  // stands
    };

    const SoftwareModel model_;
    std::vector<std::uint8_t> config_;
    const memory::GuestMemory& memory_;
    std::array<HostBar, pci::bar_count> bars_{};
    std::byte* page_ = nullptr;
    State state_;
    HostInterrupt kind_ = HostInterrupt::intx;
    std::vector<int> eventfds_;
    // Of INTx.
    int resample_eventfd_ = -1;
    bool masked_ = false;
    // By HostLoss.
    std::array<base::FileDescriptor, 2> losses_;
    unsigned resets_ = 0;
    bool released_ = false;
    base::GuestFault blocked_{"passthru model", "a DMA outside guest memory is blocked: at"};
};

}  // namespace cupule::passthrough
