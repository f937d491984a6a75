#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "event/event_loop.h"
#include "hypervisor/vm.h"
#include "passthrough/host_device.h"
#include "pci/function.h"
#include "pci/msi.h"
#include "pci/msix.h"
#include "pci/vector_observer.h"

namespace cupule::passthrough {

/// Carries a device's interrupts into the guest in the way the guest has chosen. The host's
/// interrupt signals an eventfd that the hypervisor turns into the guest's interrupt, with no work
/// in user space; only what comes while the guest masks a vector is taken here and made pending.
/// Called with the function's monitor held.
class InterruptRelay {
  public:
    struct Powers {
        pci::Function& function;
        HostDevice& host;
        hypervisor::InterruptEventRegistrar& events;
        event::EventLoop& loop;
        event::Monitor& monitor;
    };
    /// `msi` and `msix` may be nullptr. `msix_source`: which of the host's interrupts stand behind
    /// the guest's MSI-X (MSI, where MSI-X is emulated). All outlive this.
    InterruptRelay(Powers powers, pci::Msi* msi, pci::Msix* msix, HostInterrupt msix_source);
    ~InterruptRelay();
    InterruptRelay(const InterruptRelay&) = delete;
    InterruptRelay& operator=(const InterruptRelay&) = delete;

    /// Where the function's INTx leads in the guest; without it INTx stays silent.
    void connect_intx(irq::Gsi gsi);
    void disconnect_intx();
    /// Brings the host in line with what the guest has chosen, after a write or reset.
    void update();
    /// Nothing is connected until the next `update`: while the device is reset.
    void disconnect();
    /// While held, messages of the device wait here and go in by `let_through`, one for each vector
    /// that has any: a storm of them costs the guest little. INTx is left alone: the guest itself
    /// masks it until it has dealt with one.
    void hold(bool held);
    void let_through();
    /// How many interrupts came through this process, as the guest masked or `hold` held them.
    std::uint64_t taken() const { return taken_; }
    /// Ends everything, for good: the host's device is going away.
    void stop();

  private:
    enum class Mode : std::uint8_t { none, intx, msi, msix };
    class Observer : public pci::VectorObserver {
      public:
        Observer(InterruptRelay& relay, Mode mode) : relay_(relay), mode_(mode) {}
        void vector_changed(unsigned vector, std::optional<irq::MsiMessage> message) override {
            relay_.vector_changed(mode_, vector, message);
        }

      private:
        InterruptRelay& relay_;
        const Mode mode_;
    };
    struct Vector {
        base::FileDescriptor eventfd;
        std::unique_ptr<event::FdWatch> watch;
        bool routed = false;
    };

    Mode wanted() const;
    HostInterrupt host_kind(Mode mode) const;
    void enter(Mode mode);
    void enter_intx();
    void vector_changed(Mode mode, unsigned vector, std::optional<irq::MsiMessage> message);
    bool connect(unsigned vector);
    base::Result<void> connect_host(unsigned vector);
    void arrived(unsigned vector);
    void announce_again();

    Powers powers_;
    pci::Msi* msi_;
    pci::Msix* msix_;
    const HostInterrupt msix_source_;
    Observer msi_observer_{*this, Mode::msi};
    Observer msix_observer_{*this, Mode::msix};
    std::optional<irq::Gsi> gsi_;
    Mode mode_ = Mode::none;
    bool stopped_ = false;
    bool held_ = false;
    std::uint64_t taken_ = 0;
    std::vector<Vector> vectors_;
    base::FileDescriptor resample_;
    base::HostFault not_enabled_;
    base::HostFault not_connected_;
    base::HostFault no_intx_;
};

}  // namespace cupule::passthrough
