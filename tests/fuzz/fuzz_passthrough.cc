// Any stream of accesses to a passed-through function: configuration space, BARs with their MSI-X
// tables, DMA, interrupts of the device, resets, and its loss. The device is the model of an I225,
// as it is, with as much of its configuration space overwritten as the input says.
//
// The first byte: bits 1:0 the interrupts it has, bit 2 INTx too, bit 3 PTM, bit 4 noise: then a
// count and as many pairs of offset and value follow. An operation is a byte that says what (2:0)
// and which size (4:3), two bytes of offset, and eight of value for writes.

#include <memory>

#include "base/log.h"
#include "event/event_loop.h"
#include "hypervisor/fake/fake_vm.h"
#include "input.h"
#include "io/io_dispatcher.h"
#include "passthrough/passthrough_device.h"
#include "passthrough/software_models.h"

namespace {

using namespace cupule;

constexpr std::uint64_t memory_size = 1 << 20;
constexpr std::uint64_t window = 0x8000'0000;
constexpr unsigned steps_max = 500;

struct Machine {
    event::Monitor monitor;
    hypervisor::FakeVm vm{{}};
    std::unique_ptr<event::EventLoop> loop = *event::EventLoop::create();
    std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(
        {.pieces = {{{0}, memory_size}}, .huge_pages = memory::HugePages::never});
};

passthrough::SoftwareModel make_model(fuzz::Input& input, std::uint8_t choice) {
    auto model = passthrough::make_i225_model((choice & 1) != 0 ? 4 : 1, (choice & 2) != 0 ? 5 : 0);
    const unsigned count = (choice & 0x10) != 0 ? input.take<std::uint8_t>() : 0;
    for (unsigned i = 0; i < count; ++i) {
        const std::size_t at = input.take<std::uint16_t>() % model.config.size();
        model.config[at] = input.take<std::uint8_t>();
    }
    return model;
}

struct Bench {
    Machine& machine;
    io::IoDispatcher& dispatcher;
    passthrough::PassthroughDevice& device;
    passthrough::SoftwareDevice& host;
    bool lost = false;

    void enter(io::IoDirection direction, std::uint64_t offset, unsigned size,
               std::uint64_t value) {
        io::IoRequest request{.kind = io::IoKind::mmio,
                              .direction = direction,
                              .size = static_cast<std::uint8_t>(size),
                              .address = window + offset % 0x1'0000,
                              .value = size < 8 ? value & ((1ULL << 8 * size) - 1) : value};
        dispatcher.handle(request);
    }

    void step(fuzz::Input& input) {
        const auto choice = input.take<std::uint8_t>();
        const auto offset = input.take<std::uint16_t>();
        const unsigned size = 1U << (choice >> 3 & 3);
        pci::Function& function = device.function();
        switch (choice & 7) {
            case 0:
            case 1: {
                const auto value = input.take<std::uint64_t>();
                event::MutexLock lock(machine.monitor);
                return function.write_config(offset % 0x1010U, size, value);
            }
            case 2: {
                event::MutexLock lock(machine.monitor);
                function.read_config(offset % 0x1010U, size);
                return;
            }
            case 3:
                return enter(io::IoDirection::write, offset, size, input.take<std::uint64_t>());
            case 4:
                return enter(io::IoDirection::read, offset, size, 0);
            case 5: {
                event::MutexLock lock(machine.monitor);
                if (!lost) {
                    host.interrupt(offset % 8);
                }
                return;
            }
            case 6:
                machine.loop->run_once(0);
                return;
            default:
                rare(offset);
        }
    }

    void rare(std::uint16_t offset) {
        event::MutexLock lock(machine.monitor);
        if (offset % 16 == 0 && !lost) {
            lost = true;
            return device.lose(passthrough::HostLoss::failed);
        }
        device.reset();
    }
};

void run(Machine& machine, fuzz::Input& input) {
    const auto choice = input.take<std::uint8_t>();
    io::IoDispatcher dispatcher(1);  // outlives the function that is attached to it
    auto host = passthrough::SoftwareDevice::create(make_model(input, choice), *machine.memory);
    if (!host) {
        return;
    }
    passthrough::SoftwareDevice& model = **host;
    auto device = passthrough::PassthroughDevice::create(
        std::move(*host),
        {.keep_intx = (choice & 4) != 0, .time_measurement = (choice & 8) != 0, .rom = {}},
        {.vm = machine.vm, .loop = *machine.loop, .monitor = machine.monitor});
    if (!device) {
        return;
    }
    {
        event::MutexLock lock(machine.monitor);
        (*device)->function().attach({.ports = &dispatcher.ports(),
                                      .memory = &dispatcher.mmio(),
                                      .monitor = &machine.monitor,
                                      .name = "passthru"});
        (*device)->connect_intx({17});
        // As firmware leaves it: BAR0 in the window, decoding on.
        (*device)->function().write_config(pci::config::bar0, 4, window);
        (*device)->function().write_config(pci::config::command, 2, 6);
    }
    Bench bench{machine, dispatcher, **device, model};
    for (unsigned i = 0; i < steps_max && !input.empty(); ++i) {
        bench.step(input);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Machine machine;
    base::set_log_level(base::LogLevel::error);
    fuzz::Input input(data, size);
    run(machine, input);
    return 0;
}
