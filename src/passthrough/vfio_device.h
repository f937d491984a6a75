#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "passthrough/host_device.h"
#include "passthrough/vfio_domain.h"
#include "passthrough/vfio_kernel.h"

namespace cupule::passthrough {

/// How a device is reset before it is given to a guest and after.
enum class ResetChoice : std::uint8_t {
    /// By the best way the host has: of the function alone, else with its bus, all of which has to
    /// be in the guest's domain.
    best,
    /// The same for a guest that gets its functions one by one: where some of the bus are not in
    /// its domain, it goes on without a reset, which the last of them brings to all.
    best_when_all_are_in,
    /// Also through D3hot and back.
    power_state_too,
    never,
};

/// A function of the host behind vfio-pci (Linux include/uapi/linux/vfio.h). The kernel keeps its
/// own hand on what could harm the host (BARs, MSI, power); the rest of its configuration space is
/// the device's.
class VfioDevice : public HostDevice {
  public:
    /// `place` was admitted to `domain`, which outlives the device, as does `kernel`. Resets it as
    /// `reset` says; the error names functions that would have to come along.
    static base::Result<std::unique_ptr<VfioDevice>> open(VfioKernel& kernel, VfioDomain& domain,
                                                          const VfioPlace& place,
                                                          ResetChoice reset);
    ~VfioDevice() override;

    const std::string& name() const override { return name_; }
    unsigned config_size() const override { return config_size_; }
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
    bool resettable() const override;
    base::Result<void> reset() override;
    base::Result<void> reset_function() override;
    int loss_eventfd(HostLoss loss) const override;
    void release() override;

  private:
    struct Region {
        std::uint64_t offset = 0;  // in the descriptor
        std::uint64_t size = 0;
    };

    VfioDevice(VfioKernel& kernel, VfioDomain& domain, std::string name, base::FileDescriptor fd,
               ResetChoice reset)
        : kernel_(kernel),
          domain_(domain),
          name_(std::move(name)),
          address_(HostAddress::parse(name_).value_or(HostAddress{})),
          fd_(std::move(fd)),
          reset_choice_(reset) {}

    base::Result<void> read_layout();
    base::Result<void> read_bar_layout(unsigned bar);
    base::Result<void> map_piece(unsigned bar, std::uint64_t offset, std::uint64_t size);
    base::Result<void> read_interrupts();
    base::Result<void> set_eventfd(std::uint32_t index, std::uint32_t action, unsigned vector,
                                   int eventfd);
    base::Result<void> watch_losses();
    base::Result<void> reset_with_bus();
    void cycle_power_state();
    void settle_command();
    std::uint64_t read_region(const Region& region, std::uint64_t offset, unsigned size) const;
    void write_region(const Region& region, std::uint64_t offset, unsigned size,
                      std::uint64_t value) const;

    VfioKernel& kernel_;
    VfioDomain& domain_;
    const std::string name_;
    const HostAddress address_;
    base::FileDescriptor fd_;
    const ResetChoice reset_choice_;
    bool host_resets_ = false;
    unsigned config_size_ = 256;
    Region config_;
    std::array<Region, pci::bar_count> regions_{};
    std::array<HostBar, pci::bar_count> bars_{};
    std::array<unsigned, 5> interrupt_counts_{};
    std::array<base::FileDescriptor, 2> losses_;
    base::HostFault fewer_interrupts_{base::LogLevel::warning};
    base::HostFault no_reset_{base::LogLevel::warning};
};

}  // namespace cupule::passthrough
