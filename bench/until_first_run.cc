// until_first_run [--stages] -- PROGRAM [ARGUMENT...]
//
// Starts a program that runs a virtual machine on KVM and ends it at its first ioctl(KVM_RUN),
// before that is carried out. Prints one line: CPU time (user and system, all threads) and time
// passed since exec, in microseconds. With --stages a line for each KVM ioctl before it, to see
// where the time goes.
//
// A seccomp filter stops the program at those ioctls only, so that all its other system calls cost
// what they always cost.

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>

namespace {

struct NamedRequest {
    std::uint32_t request;
    const char* name;
};

constexpr std::uint32_t as_request(unsigned long value) {
    return static_cast<std::uint32_t>(value);
}

// Requests whose C structures end in a flexible array are left out: none of them separates stages.
constexpr std::array stages{
    NamedRequest{as_request(KVM_GET_API_VERSION), "KVM_GET_API_VERSION"},
    NamedRequest{as_request(KVM_CREATE_VM), "KVM_CREATE_VM"},
    NamedRequest{as_request(KVM_CREATE_IRQCHIP), "KVM_CREATE_IRQCHIP"},
    NamedRequest{as_request(KVM_CREATE_VCPU), "KVM_CREATE_VCPU"},
    NamedRequest{as_request(KVM_SET_USER_MEMORY_REGION), "KVM_SET_USER_MEMORY_REGION"},
    NamedRequest{as_request(KVM_SET_SREGS), "KVM_SET_SREGS"},
    NamedRequest{as_request(KVM_SET_REGS), "KVM_SET_REGS"},
};

const char* stage_name(std::uint64_t request) {
    for (const NamedRequest& stage : stages) {
        if (stage.request == request) {
            return stage.name;
        }
    }
    return "?";
}

constexpr sock_filter statement(unsigned code, std::uint32_t k) {
    return {static_cast<std::uint16_t>(code), 0, 0, k};
}

constexpr sock_filter jump_if_equal(std::uint32_t k, std::uint8_t yes, std::uint8_t no) {
    return {static_cast<std::uint16_t>(BPF_JMP | BPF_JEQ | BPF_K), yes, no, k};
}

/// Traces ioctls whose request is in the list, allows all else.
void install_filter(bool with_stages) {
    constexpr std::size_t head = 4;
    std::array<sock_filter, head + 1 + stages.size() + 2> program{};
    const std::size_t count = 1 + (with_stages ? stages.size() : 0);
    program[0] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
    program[1] = jump_if_equal(SYS_ioctl, 1, 0);
    program[2] = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[3] = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1]));
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t request = i == 0 ? as_request(KVM_RUN) : stages[i - 1].request;
        program[head + i] = jump_if_equal(request, static_cast<std::uint8_t>(count - i), 0);
    }
    program[head + count] = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[head + count + 1] = statement(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    sock_fprog filter{static_cast<unsigned short>(head + count + 2), program.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        std::perror("until_first_run: seccomp");
        std::_Exit(126);
    }
}

double microseconds(const timespec& time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

double now_us(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return microseconds(time);
}

[[noreturn]] void fail(pid_t child, const char* what) {
    std::fprintf(stderr, "until_first_run: %s\n", what);
    kill(child, SIGKILL);
    std::exit(1);
}

[[noreturn]] void run_child(char** command, bool with_stages) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    install_filter(with_stages);
    execvp(command[0], command);
    std::perror(command[0]);
    std::_Exit(127);
}

/// Follows the program from its exec to its first KVM_RUN.
class Watch {
  public:
    Watch(pid_t child, bool with_stages) : child_(child), with_stages_(with_stages) {
        if (clock_getcpuclockid(child, &cpu_clock_) != 0) {
            fail(child, "its CPU clock cannot be read");
        }
    }

    void follow() {
        ptrace(PTRACE_CONT, child_, nullptr, nullptr);
        while (!done_) {
            int status = 0;
            const pid_t stopped = waitpid(-1, &status, __WALL);
            if (stopped < 0) {
                fail(child_, "it ended without KVM_RUN");
            }
            handle(stopped, status);
        }
    }

  private:
    void handle(pid_t thread, int status) {
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (thread == child_) {
                fail(child_, "it ended without KVM_RUN");
            }
            return;
        }
        const int event = status >> 16;
        long signal = 0;
        if (event == PTRACE_EVENT_EXEC) {
            // The clocks start here: what the caller's fork and filter cost is not the program's.
            cpu_at_exec_ = now_us(cpu_clock_);
            wall_at_exec_ = now_us(CLOCK_MONOTONIC);
        } else if (event == PTRACE_EVENT_SECCOMP) {
            at_request(thread);
        } else if (event == 0 && WSTOPSIG(status) != SIGSTOP) {
            signal = WSTOPSIG(status);
        }
        if (!done_) {
            ptrace(PTRACE_CONT, thread, nullptr, signal);
        }
    }

    void at_request(pid_t thread) {
        user_regs_struct registers{};
        ptrace(PTRACE_GETREGS, thread, nullptr, &registers);
        const double cpu = now_us(cpu_clock_) - cpu_at_exec_;
        const double wall = now_us(CLOCK_MONOTONIC) - wall_at_exec_;
        if (registers.rsi != KVM_RUN) {
            std::printf("%10.0f %10.0f before %s\n", cpu, wall, stage_name(registers.rsi));
            return;
        }
        std::printf(with_stages_ ? "%10.0f %10.0f before KVM_RUN\n" : "%.0f %.0f\n", cpu, wall);
        done_ = true;
    }

    const pid_t child_;
    const bool with_stages_;
    clockid_t cpu_clock_ = 0;
    double cpu_at_exec_ = 0;
    double wall_at_exec_ = 0;
    bool done_ = false;
};

}  // namespace

int main(int argc, char** argv) {
    int next = 1;
    const bool with_stages = next < argc && std::string_view(argv[next]) == "--stages";
    next += with_stages ? 1 : 0;
    next += next < argc && std::string_view(argv[next]) == "--" ? 1 : 0;
    if (next >= argc) {
        std::fprintf(stderr, "usage: until_first_run [--stages] -- PROGRAM [ARGUMENT...]\n");
        return 64;
    }
    const pid_t child = fork();
    if (child == 0) {
        run_child(argv + next, with_stages);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
        fail(child, "the program cannot be started");
    }
    if (ptrace(PTRACE_SETOPTIONS, child, nullptr,
               PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
                   PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL) != 0) {
        fail(child, "it cannot be traced");
    }
    Watch watch(child, with_stages);
    watch.follow();
    kill(child, SIGKILL);
    return 0;
}
