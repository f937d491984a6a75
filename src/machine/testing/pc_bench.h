#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "backend/stdio_channel.h"
#include "base/file_descriptor.h"
#include "boot/testing/image_builder.h"
#include "event/event_loop.h"
#include "event/testing/jumping_clock.h"
#include "hypervisor/fake/fake_vm.h"
#include "machine/address_map.h"
#include "machine/pc.h"

namespace cupule::machine::testing {

/// A Multiboot kernel of one page at 1 MiB, as a file without a name: `path` opens it as long as
/// this lives.
class KernelFile {
  public:
    KernelFile() : file_(memfd_create("kernel", MFD_CLOEXEC)) {
        boot::testing::Elf32Builder elf;
        elf.add_segment({mib, 0x1000, 0x1000});
        elf.header.e_entry = static_cast<Elf32_Addr>(mib);
        auto image = elf.build();
        constexpr std::uint32_t multiboot_magic = 0x1BAD'B002;
        image.put<std::uint32_t>(0x200, multiboot_magic);
        image.put<std::uint32_t>(0x204, 0);
        image.put<std::uint32_t>(0x208, 0U - multiboot_magic);
        const auto bytes = image.bytes();
        complete_ =
            ::write(file_.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
        // Nobody has it open for writing: it can be held (boot::ImageFile::hold).
        file_ = base::FileDescriptor(::open(path().c_str(), O_RDONLY | O_CLOEXEC));
    }
    bool complete() const { return complete_; }
    std::string path() const { return fmt::format("/proc/self/fd/{}", file_.get()); }

  private:
    base::FileDescriptor file_;
    bool complete_ = false;
};

/// A whole machine on a hypervisor without processors: the test is the guest. What it does between
/// two turns of the event loop is a step.
class PcBench {
  public:
    using Step = std::function<void()>;

    static VmOptions default_options() {
        VmOptions options;
        options.name = "bench";
        options.memory_size = memory_size_min;
        options.vcpu_count = 2;
        options.huge_pages = HugePages::never;
        options.debug_exit = true;
        options.slots = {{.slot = 0, .device = "hostbridge", .options = {}},
                         {.slot = 1, .device = "lpc", .options = {}}};
        options.serial_ports = {{.port = 1, .io_base = 0x3F8, .irq = 4, .backend = {}},
                                {.port = 2, .io_base = 0x2F8, .irq = 3, .backend = {}}};
        return options;
    }

    explicit PcBench(VmOptions options = default_options()) {
        auto clock = std::make_unique<event::testing::JumpingClock>();
        clock_ = clock.get();
        auto loop = event::EventLoop::create(std::move(clock));
        options.kernel = kernel_.path();
        auto loader =
            boot::GuestLoader::open({.kernel = options.kernel, .command_line = options.bootargs});
        if (!loop || !loader || !kernel_.complete()) {
            error_ = loader ? "no event loop or kernel file" : loader.error().error.message;
            return;
        }
        loop_ = std::move(*loop);
        const auto make_vm =
            [this](
                const hypervisor::VmSpec& spec) -> base::Result<std::unique_ptr<hypervisor::Vm>> {
            auto vm = std::make_unique<hypervisor::FakeVm>(spec);
            vm_ = vm.get();
            return vm;
        };
        auto pc = Pc::create(options, {*loop_, stdio_, make_vm, true}, std::move(*loader));
        if (!pc) {
            error_ = pc.error().message;
            return;
        }
        pc_ = std::move(*pc);
    }

    /// Why there is no machine, or empty.
    const std::string& error() const { return error_; }
    Pc& pc() { return *pc_; }
    hypervisor::FakeVm& vm() { return *vm_; }
    event::EventLoop& loop() { return *loop_; }
    /// As if the machine had done nothing for so long.
    void let_pass(std::int64_t ns) {
        clock_->ahead_ns += ns;
        loop_->clock_jumped();
    }
    std::string kernel_path() const { return kernel_.path(); }

    /// Runs the machine, doing each step when what the one before asked for has been carried out;
    /// ends the run after the last. The answer is std::nullopt when the machine has not ended by
    /// itself.
    std::optional<End> run(std::deque<Step> steps) {
        steps_ = std::move(steps);
        post_step();
        auto end = pc_->run();
        const bool by_itself = !steps_.empty() || !finished_;
        finished_ = false;
        return end && by_itself ? std::optional(*end) : std::nullopt;
    }

    /// Said inside a step: one that comes before those that are left.
    void go_on_with(Step step) { steps_.push_front(std::move(step)); }

    /// Reads a value from the guest's memory; zero outside.
    template <class T>
    T load(std::uint64_t address) const {
        T value{};
        const auto bytes = vm_->memory(address, sizeof value);
        if (!bytes.empty()) {
            std::memcpy(&value, bytes.data(), sizeof value);
        }
        return value;
    }
    template <class T>
    void store(std::uint64_t address, const T& value) {
        const auto bytes = vm_->memory(address, sizeof value);
        if (!bytes.empty()) {
            std::memcpy(bytes.data(), &value, sizeof value);
        }
    }

  private:
    void post_step() {
        loop_->post([this] {
            if (steps_.empty()) {
                finished_ = true;
                loop_->stop();
                return;
            }
            const Step step = std::move(steps_.front());
            steps_.pop_front();
            step();
            post_step();
        });
    }

    KernelFile kernel_;
    std::string error_;
    event::testing::JumpingClock* clock_ = nullptr;  // the loop's
    std::unique_ptr<event::EventLoop> loop_;
    backend::StdioOwner stdio_{[] {}};
    hypervisor::FakeVm* vm_ = nullptr;
    std::unique_ptr<Pc> pc_;
    std::deque<Step> steps_;
    bool finished_ = false;
};

// How a guest asks for things.

inline void write_cf9(hypervisor::FakeVm& vm, std::uint8_t value, std::uint16_t vcpu = 0) {
    vm.write_port(0xCF9, 1, value, vcpu);
}

/// SLP_TYP and SLP_EN in PM1_CNT (ACPI 6.5, 4.8.4.2.1).
inline void write_sleep(hypervisor::FakeVm& vm, std::uint16_t type) {
    vm.write_port(pm1_control_port, 2, static_cast<std::uint16_t>(type << 10 | 1 << 13));
}

}  // namespace cupule::machine::testing
