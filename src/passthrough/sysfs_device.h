#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "passthrough/host_device.h"
#include "passthrough/host_topology.h"

namespace cupule::passthrough {

/// A function of the host as sysfs shows it: what it is, not what it does. For a guest whose
/// hypervisor has the device itself (ACRN), where the device model only keeps its place: registers
/// keep what they held, BARs read as ones, interrupts and resets are the hypervisor's.
class SysfsDevice : public HostDevice {
  public:
    /// Of `function`, as HostTopology read it; `root` as there.
    static base::Result<std::unique_ptr<SysfsDevice>> open(const HostFunction& function,
                                                           const std::string& root = {});

    const std::string& name() const override { return name_; }
    unsigned config_size() const override { return static_cast<unsigned>(config_.size()); }
    std::uint64_t read_config(std::uint64_t offset, unsigned size) override;
    void write_config(std::uint64_t, unsigned, std::uint64_t) override {}
    const HostBar& bar(unsigned bar) const override { return bars_[bar]; }
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override;
    void write_bar(unsigned, std::uint64_t, unsigned, std::uint64_t) override {}
    unsigned interrupts(HostInterrupt kind) const override;
    base::Result<void> enable(HostInterrupt, unsigned) override { return {}; }
    base::Result<void> connect(HostInterrupt, unsigned, int, int) override { return {}; }
    void disable(HostInterrupt) override {}
    bool resettable() const override { return false; }
    base::Result<void> reset() override { return {}; }
    int loss_eventfd(HostLoss) const override { return -1; }
    void release() override {}

  private:
    SysfsDevice(std::string name, std::vector<std::uint8_t> config)
        : name_(std::move(name)), config_(std::move(config)) {}

    const std::string name_;
    const std::vector<std::uint8_t> config_;
    std::array<HostBar, pci::bar_count> bars_{};
};

/// Resets a function as the host's own drivers would (sysfs, reset) before a hypervisor gets it.
/// The error is that it cannot be reset alone.
base::Result<void> reset_by_sysfs(const HostFunction& function, const std::string& root = {});

}  // namespace cupule::passthrough
