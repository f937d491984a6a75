#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "hsm/host_devices.h"
#include "memory/guest_memory.h"
#include "passthrough/software_device.h"

namespace cupule::hsm::testing {

/// A host with one function of the given model, wherever it is looked for but at 00:00.0.
class OneModel : public HostDevices {
  public:
    struct Log {
        passthrough::SoftwareDevice* device = nullptr;
        std::vector<RamPiece> ram;
        unsigned given_back = 0;
    };
    OneModel(passthrough::SoftwareModel model, Log& log) : model_(std::move(model)), log_(log) {
        auto memory = memory::GuestMemory::create(
            {.pieces = {{{0}, 1 << 20}}, .huge_pages = memory::HugePages::never});
        CUPULE_ASSERT(memory.has_value());
        memory_ = std::move(*memory);
    }
    base::Result<std::unique_ptr<passthrough::HostDevice>> open(io::PciAddress address,
                                                                std::span<const RamPiece> ram,
                                                                bool /*intx*/) override {
        if (address.routing_id() == 0) {
            return base::fail("nobody is there");
        }
        if (log_.device != nullptr) {
            return base::fail_errno(EBUSY, "somebody has it");
        }
        log_.ram.assign(ram.begin(), ram.end());
        CUPULE_TRY_ASSIGN(auto device, passthrough::SoftwareDevice::create(model_, *memory_));
        log_.device = device.get();
        return device;
    }
    void given_back(io::PciAddress /*address*/) override {
        log_.device = nullptr;
        ++log_.given_back;
    }
    base::Result<void> add_ram(const RamPiece& piece) override {
        log_.ram.push_back(piece);
        return {};
    }

  private:
    const passthrough::SoftwareModel model_;
    Log& log_;
    std::unique_ptr<memory::GuestMemory> memory_;
};

}  // namespace cupule::hsm::testing
