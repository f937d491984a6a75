#include "app/run.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "app/exit_codes.h"
#include "app/fatal_signals.h"
#include "backend/stdio_channel.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "boot/loader.h"
#include "control/control.h"
#include "control/pc_commands.h"
#include "event/event_loop.h"
#include "hypervisor/acrn/acrn_vm.h"
#include "hypervisor/kvm/kvm_vm.h"
#include "machine/pc.h"

namespace cupule::app {
namespace {

RunEnd to_run_end(machine::EndReason reason) {
    switch (reason) {
        case machine::EndReason::power_off:
            return RunEnd::power_off;
        case machine::EndReason::debug_exit:
            return RunEnd::debug_exit;
        case machine::EndReason::forced_stop:
            return RunEnd::forced_stop;
        case machine::EndReason::grace_expired:
            return RunEnd::grace_expired;
        case machine::EndReason::guest_crash:
            return RunEnd::guest_crash;
        case machine::EndReason::hypervisor_failure:
            return RunEnd::hypervisor_failure;
        case machine::EndReason::machine_failure:
            break;
    }
    return RunEnd::machine_failure;
}

int load_fault_code(boot::LoadFault fault) {
    switch (fault) {
        case boot::LoadFault::kernel_file:
            return exit_kernel_file;
        case boot::LoadFault::ramdisk_file:
            return exit_ramdisk_file;
        case boot::LoadFault::other:
            break;
    }
    return exit_failure;
}

/// Turns signals into what a person at the machine would do: SIGTERM presses the power button and,
/// when the guest does not follow within the grace time, pulls the plug; SIGINT and SIGHUP pull it
/// at once. SIGIO is the kernel's: somebody waits to change an image that is in use.
class SignalHandling {
  public:
    SignalHandling(event::EventLoop& loop, machine::Pc& pc, std::uint32_t grace_s)
        : loop_(loop), pc_(pc), grace_s_(grace_s) {}

    ~SignalHandling() {
        event::MutexLock lock(monitor_);
        watch_.reset();
        grace_timer_.reset();
    }

    /// The signals are taken from the whole process before any thread exists.
    static sigset_t block() {
        sigset_t set;
        sigemptyset(&set);
        for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGIO}) {
            sigaddset(&set, signal);
        }
        pthread_sigmask(SIG_BLOCK, &set, nullptr);
        // For backend::TerminalSize, which waits for it where there is a console to tell.
        sigset_t window;
        sigemptyset(&window);
        sigaddset(&window, SIGWINCH);
        pthread_sigmask(SIG_BLOCK, &window, nullptr);
        std::signal(SIGPIPE, SIG_IGN);
        return set;
    }

    base::Result<void> start(const sigset_t& set) {
        fd_ = base::FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
        if (!fd_) {
            return base::fail_errno(errno, "cannot receive signals");
        }
        event::MutexLock lock(monitor_);
        grace_timer_ = loop_.make_timer(monitor_, [this] {
            pc_.force_end(machine::EndReason::grace_expired,
                          fmt::format("the guest did not power off within {} s", grace_s_));
        });
        CUPULE_TRY_ASSIGN(watch_, loop_.watch(fd_.get(), EPOLLIN, monitor_,
                                              [this](std::uint32_t) { signalled(); }));
        return {};
    }

  private:
    void signalled() {
        signalfd_siginfo info{};
        while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
            if (info.ssi_signo == SIGTERM && !grace_timer_->running()) {
                loop_.post([this] { pc_.press_power_button(); });
                grace_timer_->start_at(loop_.clock().now_ns() + grace_s_ * event::ns_per_s);
            } else if (info.ssi_signo == SIGIO) {
                loop_.post([this] { pc_.release_images(); });
            } else if (info.ssi_signo != SIGTERM) {
                pc_.force_end(machine::EndReason::forced_stop,
                              fmt::format("signal {}", info.ssi_signo));
            }
        }
    }

    event::EventLoop& loop_;
    machine::Pc& pc_;
    const std::uint32_t grace_s_;
    /// Guards the watch and the timer; taken by the event loop only.
    event::Monitor monitor_;
    base::FileDescriptor fd_;
    std::unique_ptr<event::FdWatch> watch_;
    std::unique_ptr<event::Timer> grace_timer_;
};

base::Result<std::unique_ptr<hypervisor::Vm>> create_vm(const VmOptions& options,
                                                        const hypervisor::VmSpec& spec) {
    if (options.hypervisor != Hypervisor::acrn) {
        CUPULE_TRY_ASSIGN(auto vm, hypervisor::KvmVm::create(spec));
        return vm;
    }
    CUPULE_TRY_ASSIGN(auto hsm, hypervisor::acrn::open_hsm(options.hsm_device));
    const hypervisor::acrn::AcrnOptions acrn{.realtime = options.realtime,
                                             .lapic_passthrough = options.lapic_passthrough,
                                             .secure_world = options.trusty};
    CUPULE_TRY_ASSIGN(auto vm, hypervisor::acrn::AcrnVm::create(spec, acrn, std::move(hsm)));
    return vm;
}

base::Result<machine::End> run_pc(const VmOptions& options, boot::GuestLoader loader) {
    const sigset_t signals = SignalHandling::block();
    CUPULE_TRY_ASSIGN(const auto loop, event::EventLoop::create());
    machine::Pc* running = nullptr;
    // A console's channel lives on a worker; the machine is this thread's.
    backend::StdioOwner stdio([&] {
        loop->post([&] {
            if (running != nullptr) {
                running->force_end(machine::EndReason::forced_stop, "Ctrl-a x");
            }
        });
    });
    const FatalSignals fatal_signals(stdio);
    const auto make_vm = [&](const hypervisor::VmSpec& spec) { return create_vm(options, spec); };
    const bool on_kvm = options.hypervisor != Hypervisor::acrn;
    CUPULE_TRY_ASSIGN(const auto pc, machine::Pc::create(options, {*loop, stdio, make_vm, on_kvm},
                                                         std::move(loader)));
    running = pc.get();
    SignalHandling signal_handling(*loop, *pc, options.grace_s);
    CUPULE_TRY(signal_handling.start(signals));
    control::PcCommands commands(*pc, on_kvm || !options.realtime);
    CUPULE_TRY_ASSIGN(const auto control,
                      control::Control::create({.vm_name = options.name,
                                                .manager_directory = options.manager_directory,
                                                .manager_required = options.manager_required,
                                                .command_socket = options.command_socket},
                                               *loop, commands));
    pc->set_guest_events(control.get());
    return pc->run();
}

}  // namespace

int run_machine(const VmOptions& options) {
    auto loader = boot::GuestLoader::open({.kernel = options.kernel,
                                           .elf = options.elf_file,
                                           .initrd = options.ramdisk,
                                           .command_line = options.bootargs});
    if (!loader) {
        base::log_error("{}", loader.error().error.message);
        return load_fault_code(loader.error().fault);
    }
    const auto end = run_pc(options, std::move(*loader));
    if (!end) {
        base::log_error("{}", end.error().message);
        return exit_failure;
    }
    const RunEnd run_end = to_run_end(end->reason);
    if (exit_code(run_end, ExitCodes::distinct) >=
        exit_code(RunEnd::grace_expired, ExitCodes::distinct)) {
        base::log_error("{}", end->detail);
    }
    if (run_end == RunEnd::hypervisor_failure) {
        base::log_error(
            "`cupule probe` tells whether this host's KVM can run unmodified kernels at all");
    }
    return exit_code(run_end, options.exit_codes);
}

}  // namespace cupule::app
