// Any stream of accesses to a whole machine: ports, memory, configuration space, guest memory, with
// resets, sleep and the power button in between. Whatever a guest does, the machine answers, and
// ends only in the ways a guest may end it.
//
// An operation is a byte that says what (bits 2:0), which size (4:3) and which vCPU (5), then a
// byte that chooses a place (0xFF: a raw address of 8 bytes follows), two bytes of offset and four
// of value.

#include <array>
#include <cstring>
#include <span>

#include "base/assert.h"
#include "base/bits.h"
#include "base/log.h"
#include "machine/testing/pc_bench.h"

namespace {

using namespace cupule;

struct Place {
    io::IoKind kind;
    std::uint64_t base;
    std::uint64_t size;
};

using enum io::IoKind;
constexpr std::array<Place, 22> places{{{port, 0x40, 4},
                                        {port, 0x60, 1},
                                        {port, 0x61, 1},
                                        {port, 0x64, 1},
                                        {port, 0x70, 2},
                                        {port, 0x80, 5},
                                        {port, 0xB2, 1},
                                        {port, 0xF4, 4},
                                        {port, 0x2F8, 8},
                                        {port, 0x3F8, 8},
                                        {port, 0x400, 4},
                                        {port, 0x404, 4},
                                        {port, 0x408, 4},
                                        {port, 0xCF8, 4},
                                        {port, 0xCFC, 4},
                                        {port, 0, 0x1'0000},
                                        {mmio, machine::hpet_base, 0x400},
                                        {mmio, machine::ecam_base, 0x1'0000},
                                        {mmio, machine::ecam_base, machine::ecam_size},
                                        {mmio, machine::pci_window_32_base, 0x1'0000},
                                        {pci_config, 0, 0x1000},
                                        {pci_config, 0x800, 0x1000}}};

class Input {
  public:
    explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
    bool empty() const { return bytes_.empty(); }
    /// Little-endian; zeros beyond the end.
    template <class T>
    T take() {
        T value{};
        const std::size_t count = std::min(sizeof value, bytes_.size());
        std::memcpy(&value, bytes_.data(), count);
        bytes_ = bytes_.subspan(count);
        return value;
    }

  private:
    std::span<const std::uint8_t> bytes_;
};

io::IoRequest next_request(Input& input, std::uint8_t operation) {
    io::IoRequest request;
    const auto choice = input.take<std::uint8_t>();
    const Place& place = places.at(choice % places.size());
    request.kind = place.kind;
    request.size = static_cast<std::uint8_t>(1U << (operation >> 3 & 3));
    request.vcpu = operation >> 5 & 1;
    request.address = choice == 0xFF ? input.take<std::uint64_t>()
                                     : place.base + input.take<std::uint16_t>() % place.size;
    request.value = input.take<std::uint32_t>();
    if (request.size == 8) {
        request.value |= request.value << 32;
    }
    request.value &= base::ones(request.size);
    // What a hypervisor promises: port and configuration accesses have at most four bytes.
    if (request.kind == port) {
        request.address &= 0xFFFF;
        request.size = std::min<std::uint8_t>(request.size, 4);
    } else if (request.kind == pci_config) {
        request.bdf = io::PciAddress::from_routing_id(
            static_cast<std::uint16_t>(request.address >> 8 & 0xFFF8));
        request.address &= 0xFFF;
        request.size = std::min<std::uint8_t>(request.size, 4);
    } else {
        request.address &= base::mask(52);
    }
    return request;
}

void run_operation(machine::testing::PcBench& bench, Input& input) {
    const auto operation = input.take<std::uint8_t>();
    switch (operation & 7) {
        case 0:
        case 1:
        case 2: {
            io::IoRequest request = next_request(input, operation);
            request.direction = io::IoDirection::write;
            bench.vm().access(request);
            break;
        }
        case 3:
        case 4: {
            const io::IoRequest request = next_request(input, operation);
            const std::uint64_t value = bench.vm().access(request);
            CUPULE_ASSERT((value & ~base::ones(request.size)) == 0);
            break;
        }
        case 5:
            bench.store<std::uint64_t>(input.take<std::uint32_t>() % (128 << 20),
                                       input.take<std::uint64_t>());
            break;
        case 6:
            bench.pc().press_power_button();
            break;
        case 7:
            if (input.take<std::uint8_t>() % 8 == 0) {
                bench.vm().stop(hypervisor::VmStop::triple_fault);
            }
            bench.loop().run_once(0);
            break;
        default:
            break;
    }
    if (!bench.vm().running()) {
        bench.loop().run_once(0);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t size_max = 4096;
    base::set_log_level(base::LogLevel::error);
    machine::testing::PcBench bench;
    CUPULE_ASSERT(bench.error().empty());
    const auto end = bench.run({[&] {
        Input input(std::span(data, std::min(size, size_max)));
        while (!input.empty()) {
            run_operation(bench, input);
        }
        CUPULE_ASSERT(!bench.pc().parts().save().empty());
    }});
    CUPULE_ASSERT(!end || end->reason == machine::EndReason::power_off ||
                  end->reason == machine::EndReason::debug_exit);
    return 0;
}
