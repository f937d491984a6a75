#include "machine/hypervisor_endpoints.h"

#include <optional>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/bits.h"
#include "base/text.h"
#include "hypervisor/device_assigner.h"
#include "pci/config_registers.h"

namespace cupule::machine {
namespace {

constexpr std::uint64_t page_size = 4096;

/// The function on this machine's bus: no access of a guest ever reaches it.
class HypervisorEndpoint : public Endpoint, public snapshot::Device {
  public:
    HypervisorEndpoint(const EndpointContext& context, const SlotOptions& slot,
                       const pci::Attributes& attributes, hypervisor::HypervisorFunction wanted)
        : assigner_(*context.vm.device_assigner()),
          monitor_(context.monitor),
          wanted_(std::move(wanted)),
          function_(attributes) {
        std::visit([&](auto& one) { one.guest = place_of(slot); }, wanted_);
    }
    ~HypervisorEndpoint() override { leaving(); }
    HypervisorEndpoint(const HypervisorEndpoint&) = delete;
    HypervisorEndpoint& operator=(const HypervisorEndpoint&) = delete;

    pci::Function& function() override { return function_; }
    snapshot::Device& device() override { return *this; }
    void reset() override { function_.reset(); }
    void visit(snapshot::Visitor& visitor) override { function_.visit(visitor); }

    base::Result<void> placed() override {
        std::visit(
            [this](auto& one) {
                if constexpr (requires { one.bars; }) {
                    event::MutexLock lock(monitor_);
                    for (unsigned bar = 0; bar < one.bars.size(); ++bar) {
                        one.bars[bar] = function_.config().template get<std::uint32_t>(
                            static_cast<std::uint16_t>(pci::config::bar0 + 4 * bar));
                    }
                }
            },
            wanted_);
        CUPULE_TRY(assigner_.create(wanted_));
        is_there_ = true;
        return {};
    }
    void leaving() override {
        if (std::exchange(is_there_, false)) {
            assigner_.destroy(wanted_);
        }
    }

  private:
    static io::PciAddress place_of(const SlotOptions& slot) {
        return {.bus = 0,
                .device = static_cast<std::uint8_t>(slot.slot),
                .function = static_cast<std::uint8_t>(slot.function)};
    }

    hypervisor::DeviceAssigner& assigner_;
    event::Monitor& monitor_;
    hypervisor::HypervisorFunction wanted_;
    pci::Function function_;
    bool is_there_ = false;
};

base::Error without_hypervisor(const SlotOptions& slot) {
    return {.message = fmt::format("-s {}:{},{},{}: the hypervisor has this device, and KVM is "
                                   "none that does; it takes --hypervisor acrn",
                                   slot.slot, slot.function, slot.device, slot.options)};
}

struct SharedMemoryText {
    std::string name;
    std::uint32_t size_mb = 0;
};

std::optional<SharedMemoryText> parse_shared_memory(std::string_view text) {
    constexpr std::size_t name_max = 31;
    const auto [name, rest] = base::cut(text, ',');
    const auto [number, region] = base::cut(rest, ',');
    const auto size = base::to_number<std::uint32_t>(number);
    const bool has_region = region.empty() || base::to_number<std::uint16_t>(region);
    if (!name.starts_with("hv:/") || name.size() > name_max || !size || *size < 2 || *size > 512 ||
        !base::is_power_of_two(*size) || !has_region) {
        return std::nullopt;
    }
    return SharedMemoryText{.name = std::string(name), .size_mb = *size};
}

}  // namespace

base::Result<std::unique_ptr<Endpoint>> make_ivshmem(const SlotOptions& slot,
                                                     const EndpointContext& context) {
    const auto text = parse_shared_memory(slot.options);
    if (!text) {
        return base::fail(
            "-s {}:{},ivshmem,{}: hv:/NAME,SIZE_MB[,REGION] is wanted: a name of up to 31 "
            "characters, a power of two from 2 to 512, a number; dm:/ is not in this build",
            slot.slot, slot.function, slot.options);
    }
    if (context.vm.device_assigner() == nullptr) {
        return std::unexpected(without_hypervisor(slot));
    }
    constexpr std::uint64_t register_bar_size = 256;
    const std::uint64_t size = std::uint64_t{text->size_mb} << 20;
    auto endpoint = std::make_unique<HypervisorEndpoint>(
        context, slot,
        pci::Attributes{.vendor_id = 0x1AF4,
                        .device_id = 0x1110,
                        .subsystem_vendor_id = 0x8086,
                        .revision = 1,
                        .class_code = 0x05'00'00},
        hypervisor::HypervisorSharedMemory{.name = text->name,
                                           .size = static_cast<std::uint32_t>(size)});
    endpoint->function().add_bar(0, {.size = register_bar_size});
    endpoint->function().add_bar(1, {.size = page_size});
    endpoint->function().add_bar(
        2, {.kind = pci::BarKind::memory_64, .size = size, .prefetchable = true});
    return endpoint;
}

base::Result<std::unique_ptr<Endpoint>> make_pci_uart(const SlotOptions& slot,
                                                      const EndpointContext& context) {
    constexpr std::string_view key = "vuart_idx:";
    const std::string_view text = slot.options;
    const auto index = text.starts_with(key)
                           ? base::to_number<std::uint16_t>(text.substr(key.size()))
                           : std::nullopt;
    if (!index) {
        return base::fail(
            "-s {}:{},uart,{}: vuart_idx:N is wanted, N as in the hypervisor's scenario; a back "
            "end of its own is not in this build (`-l com1,...` has one)",
            slot.slot, slot.function, slot.options);
    }
    if (context.vm.device_assigner() == nullptr) {
        return std::unexpected(without_hypervisor(slot));
    }
    auto endpoint =
        std::make_unique<HypervisorEndpoint>(context, slot,
                                             pci::Attributes{.vendor_id = 0x9710,
                                                             .device_id = 0x9900,
                                                             .subsystem_vendor_id = 0xA000,
                                                             .subsystem_id = 0x1000,
                                                             .class_code = 0x07'00'02},
                                             hypervisor::HypervisorSerial{.index = *index});
    endpoint->function().add_bar(0, {.size = page_size});
    endpoint->function().add_bar(1, {.size = page_size});
    return endpoint;
}

}  // namespace cupule::machine
