#pragma once

#include <cstdint>

#include "irq/interrupt.h"
#include "pci/function.h"
#include "pci/msi.h"
#include "pci/msix.h"

namespace cupule::pci {

/// What a function interrupts with, as the guest has it now.
enum class InterruptMode : std::uint8_t { intx, msi, msix };

/// Sends a device's interrupts the way the guest chose: MSI-X, else MSI, else INTx. Called with the
/// function's monitor held.
///
/// A device with one cause line uses it as a LevelLine: in the message modes each rise sends vector
/// 0. A device with vectors calls `notify` for each event and `set_level` for its INTx status.
class Interrupts : public irq::LevelLine {
  public:
    /// `msi` and `msix` may be nullptr; all outlive this.
    Interrupts(Function& function, Msi* msi, Msix* msix)
        : function_(function), msi_(msi), msix_(msix) {}

    InterruptMode mode() const;
    /// Sends `vector` as a message; nothing in INTx mode.
    void notify(unsigned vector);
    /// The level INTx has where it is used; a rise also sends vector 0 where messages are.
    void set_level(bool asserted) override;
    /// Only the INTx level, for devices that send their messages themselves.
    void set_intx_level(bool asserted) { function_.intx().set_level(asserted); }

  private:
    Function& function_;
    Msi* msi_;
    Msix* msix_;
};

}  // namespace cupule::pci
