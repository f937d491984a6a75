#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/error.h"
#include "event/event_loop.h"
#include "io/address_space.h"
#include "memory/guest_memory.h"
#include "pci/config_registers.h"
#include "testing/config_range.h"
#include "testing/fake_lines.h"
#include "testing/virtio_driver.h"
#include "virtio/features.h"
#include "virtio/pci_transport.h"

namespace cupule::testing {

/// A virtio device behind its PCI transport, on a bus of its own: what a driver does to the
/// registers, in one call each. Handles no fault: tests compare what they read.
class VirtioPciBench {
  public:
    static constexpr std::uint64_t ram_size = 8 << 20;
    static constexpr std::uint64_t structures_at = 0x9000'0000;
    static constexpr std::uint64_t msix_at = 0x9010'0000;
    static constexpr std::uint64_t legacy_at = 0xC000;

    /// Nothing is plugged in yet.
    VirtioPciBench() = default;
    explicit VirtioPciBench(std::unique_ptr<virtio::Device> device,
                            virtio::EventWiring* wiring = nullptr, bool msi_only = false,
                            virtio::PciTransportModel model = virtio::PciTransportModel::modern) {
        plug_in(std::move(device), wiring, msi_only, model);
    }

    /// Another device in the place of the one there is, which goes first.
    void plug_in(std::unique_ptr<virtio::Device> device, virtio::EventWiring* wiring = nullptr,
                 bool msi_only = false,
                 virtio::PciTransportModel model = virtio::PciTransportModel::modern) {
        const auto plugged = try_to_plug_in(std::move(device), wiring, msi_only, model);
        CUPULE_ASSERT(plugged.has_value());
    }

    /// The same where the host may refuse.
    base::Result<void> try_to_plug_in(
        std::unique_ptr<virtio::Device> device, virtio::EventWiring* wiring = nullptr,
        bool msi_only = false,
        virtio::PciTransportModel model = virtio::PciTransportModel::modern) {
        transport.reset();
        CUPULE_TRY_ASSIGN(transport,
                          virtio::PciTransport::create(std::move(device), {.memory = *memory,
                                                                           .loop = *loop,
                                                                           .monitor = monitor,
                                                                           .messages = messages,
                                                                           .wiring = wiring,
                                                                           .msi_only = msi_only,
                                                                           .model = model}));
        event::MutexLock lock(monitor);
        transport->function().attach(
            {.ports = &ports, .memory = &mmio, .monitor = &monitor, .name = "00:01.0 test"});
        transport->function().connect_intx(1, &line);
        place();
        return {};
    }

    /// What firmware does.
    void place() {
        pci::Function& function = transport->function();
        using namespace virtio::pci_layout;
        for (const auto& [bar, address] : {std::pair{legacy_bar, legacy_at},
                                           {msix_bar, msix_at},
                                           {structures_bar, structures_at}}) {
            if (function.bar(bar).size != 0) {
                function.assign_bar(bar, address);
            }
        }
        function.write_config(pci::config::command, 2, 7);
    }

    std::uint64_t read_legacy(std::uint64_t offset, unsigned size) {
        return access(ports, legacy_at + offset, size, nullptr);
    }
    void write_legacy(std::uint64_t offset, unsigned size, std::uint64_t value) {
        access(ports, legacy_at + offset, size, &value);
    }

    std::uint64_t read(std::uint64_t offset, unsigned size) {
        return access(mmio, structures_at + offset, size, nullptr);
    }
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) {
        access(mmio, structures_at + offset, size, &value);
    }
    void write_msix(std::uint64_t offset, std::uint64_t value) {
        access(mmio, msix_at + offset, 4, &value);
    }
    std::uint8_t status() {
        return static_cast<std::uint8_t>(read(virtio::pci_layout::common::device_status, 1));
    }
    void set_status(std::uint8_t value) {
        write(virtio::pci_layout::common::device_status, 1, value);
    }
    std::uint64_t offered() {
        using namespace virtio::pci_layout;
        write(common::device_feature_select, 4, 0);
        const std::uint64_t low = read(common::device_feature, 4);
        write(common::device_feature_select, 4, 1);
        return low | read(common::device_feature, 4) << 32;
    }
    /// ACKNOWLEDGE to FEATURES_OK; whether the device took the features.
    bool negotiate(std::uint64_t features) {
        using namespace virtio;
        set_status(status::acknowledge);
        set_status(status::acknowledge | status::driver);
        for (std::uint32_t word = 0; word < 2; ++word) {
            write(pci_layout::common::driver_feature_select, 4, word);
            write(pci_layout::common::driver_feature, 4, features >> (32 * word) & 0xFFFF'FFFF);
        }
        set_status(status::acknowledge | status::driver | status::features_ok);
        return (status() & status::features_ok) != 0;
    }
    /// Describes and enables a queue.
    void set_queue(std::uint16_t index, const virtio::QueueGeometry& at) {
        using namespace virtio::pci_layout;
        write(common::queue_select, 2, index);
        write(common::queue_size, 2, at.size);
        write(common::queue_desc, 8, at.descriptor_area.value);
        write(common::queue_driver, 4, at.driver_area.value & 0xFFFF'FFFF);
        write(common::queue_driver + 4, 4, at.driver_area.value >> 32);
        write(common::queue_device, 8, at.device_area.value);
        write(common::queue_enable, 2, 1);
    }
    void drive() { set_status(0x0F); }
    void notify(std::uint16_t index) {
        write(virtio::pci_layout::notify_offset + std::uint64_t{4} * index, 2, index);
    }
    std::uint64_t read_config(std::uint64_t offset, unsigned size) {
        return testing::read_config(transport->function(), monitor, offset, size);
    }
    void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
        testing::write_config(transport->function(), monitor, offset, size, value);
    }

    std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(
        {.pieces = {{{0}, ram_size}}, .huge_pages = memory::HugePages::never});
    std::unique_ptr<event::EventLoop> loop = *event::EventLoop::create();
    event::Monitor monitor;
    FakeMessageSink messages;
    FakeLevelLine line;
    io::AddressSpace ports{"ports", 0xFFFF, 1};
    io::AddressSpace mmio{"mmio", ~std::uint64_t{0}, 1};
    std::unique_ptr<virtio::PciTransport> transport;

  private:
    std::uint64_t access(io::AddressSpace& space, std::uint64_t address, unsigned size,
                         const std::uint64_t* value) {
        const auto lookup = space.lookup(0);
        const auto* found = lookup.find(address, size);
        if (found == nullptr) {
            return base::ones(size);
        }
        event::MutexLock lock(monitor);
        if (value != nullptr) {
            found->handler->write(address - found->handler_base, size, *value);
            return 0;
        }
        return found->handler->read(address - found->handler_base, size);
    }
};

}  // namespace cupule::testing
