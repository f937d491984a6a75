// The parts of a request's way through the HSM service: `bench_hsm_parts DEVICE COUNT` prints two
// lines, `ioctl US` for one that the device's service refuses at once, and `wake US` from a write
// to an eventfd until the thread that reads it runs. For bench/hsm_cost, in the same surroundings.

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/acrn.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <thread>

namespace {

template <class Call>
double per_call_us(unsigned count, Call call) {
    const auto begin = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < count; ++i) {
        call();
    }
    const std::chrono::duration<double, std::micro> passed =
        std::chrono::steady_clock::now() - begin;
    return passed.count() / count;
}

double wake_us(unsigned count) {
    const int there = eventfd(0, EFD_CLOEXEC);
    const int back = eventfd(0, EFD_CLOEXEC);
    eventfd_t value = 0;
    std::thread other([=] {
        eventfd_t taken = 0;
        for (unsigned i = 0; i < count; ++i) {
            eventfd_read(there, &taken);
            eventfd_write(back, 1);
        }
    });
    const double both = per_call_us(count, [&] {
        eventfd_write(there, 1);
        eventfd_read(back, &value);
    });
    other.join();
    close(there);
    close(back);
    return both / 2;
}

}  // namespace

int main(int argc, char** argv) {
    const int file = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
    const auto count = static_cast<unsigned>(argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0);
    if (file < 0 || count == 0) {
        fmt::print(stderr, "usage: bench_hsm_parts DEVICE COUNT\n");
        return 64;
    }
    fmt::print("ioctl {:.1f}\n", per_call_us(count, [&] { ioctl(file, ACRN_IOCTL_START_VM); }));
    fmt::print("wake {:.1f}\n", wake_us(count));
    close(file);
    return 0;
}
