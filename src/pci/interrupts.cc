#include "pci/interrupts.h"

namespace cupule::pci {

InterruptMode Interrupts::mode() const {
    if (msix_ != nullptr && msix_->enabled()) {
        return InterruptMode::msix;
    }
    if (msi_ != nullptr && msi_->enabled()) {
        return InterruptMode::msi;
    }
    return InterruptMode::intx;
}

void Interrupts::notify(unsigned vector) {
    switch (mode()) {
        case InterruptMode::msix:
            msix_->notify(vector);
            break;
        case InterruptMode::msi:
            msi_->notify(vector);
            break;
        case InterruptMode::intx:
            break;
    }
}

void Interrupts::set_level(bool asserted) {
    const bool rises = asserted && !function_.intx_asserted();
    function_.intx().set_level(asserted);
    if (rises) {
        notify(0);
    }
}

}  // namespace cupule::pci
