// Any client of the HSM: any ioctl with any argument, its memory changed at any time, in between
// accesses of the guest, triple faults and the end. Whatever a client does, the service answers.
//
// An operation is a byte that chooses, then for an ioctl a byte that chooses the argument's kind
// and the bytes of the structure; short input reads as zeros.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "base/log.h"
#include "hsm/testing/session_bench.h"
#include "hsm/testing/software_host.h"
#include "input.h"
#include "passthrough/software_models.h"

namespace {

using namespace cupule;
using fuzz::Input;
using hsm::testing::SessionBench;

constexpr std::array<unsigned long, 30> ioctls{ACRN_IOCTL_CREATE_VM,
                                               ACRN_IOCTL_DESTROY_VM,
                                               ACRN_IOCTL_START_VM,
                                               ACRN_IOCTL_PAUSE_VM,
                                               ACRN_IOCTL_RESET_VM,
                                               ACRN_IOCTL_SET_VCPU_REGS,
                                               ACRN_IOCTL_INJECT_MSI,
                                               ACRN_IOCTL_VM_INTR_MONITOR,
                                               ACRN_IOCTL_SET_IRQLINE,
                                               ACRN_IOCTL_NOTIFY_REQUEST_FINISH,
                                               ACRN_IOCTL_CREATE_IOREQ_CLIENT,
                                               ACRN_IOCTL_DESTROY_IOREQ_CLIENT,
                                               ACRN_IOCTL_CLEAR_VM_IOREQ,
                                               ACRN_IOCTL_SET_MEMSEG,
                                               ACRN_IOCTL_UNSET_MEMSEG,
                                               ACRN_IOCTL_SET_PTDEV_INTR,
                                               ACRN_IOCTL_RESET_PTDEV_INTR,
                                               ACRN_IOCTL_ASSIGN_PCIDEV,
                                               ACRN_IOCTL_DEASSIGN_PCIDEV,
                                               ACRN_IOCTL_ASSIGN_MMIODEV,
                                               ACRN_IOCTL_DEASSIGN_MMIODEV,
                                               ACRN_IOCTL_CREATE_VDEV,
                                               ACRN_IOCTL_DESTROY_VDEV,
                                               ACRN_IOCTL_PM_GET_CPU_STATE,
                                               ACRN_IOCTL_IOEVENTFD,
                                               ACRN_IOCTL_IRQFD,
                                               hypervisor::acrn::ioctl_setup_asyncio,
                                               hypervisor::acrn::ioctl_setup_vm_event_ring,
                                               hypervisor::acrn::ioctl_setup_vm_event_fd,
                                               ACRN_IOCTL_ATTACH_IOREQ_CLIENT};

class Fuzzer {
  public:
    Fuzzer(const std::uint8_t* data, std::size_t size) : input_(data, size) {
        for (base::FileDescriptor& eventfd : eventfds_) {
            eventfd = std::move(*base::make_eventfd());
        }
        CUPULE_ASSERT(ftruncate(physical_.get(), 4096) == 0);
        bench_.parts().devices = {.make_host_devices =
                                      [this](hypervisor::Vm&) {
                                          return std::make_unique<hsm::testing::OneModel>(
                                              passthrough::make_i225_model(1, 4), host_);
                                      },
                                  .map_host_memory = [this](std::uint64_t, std::uint64_t bytes)
                                      -> base::Result<passthrough::HostMapping> {
                                      return passthrough::HostMapping::map(
                                          0, bytes,
                                          fmt::format("/proc/self/fd/{}", physical_.get()));
                                  },
                                  .loop = loop_.get()};
    }

    void run() {
        while (!input_.empty()) {
            const auto operation = input_.take<std::uint8_t>();
            if (operation < 0xC0) {
                call(ioctls.at(operation % ioctls.size()));
            } else if (operation < 0xD0) {
                waits_.push_back(bench_.attach(operation));
            } else if (operation < 0xD8) {
                bench_.session().interrupt(operation - 8U);
            } else if (operation < 0xF0) {
                access(operation);
            } else if (operation < 0xF8) {
                spoil_page();
            } else {
                stop();
            }
        }
        bench_.close();
        join();
    }

  private:
    void call(unsigned long request) {
        std::array<std::byte, 296> bytes{};
        const auto kind = input_.take<std::uint8_t>();
        const bool is_ring = request == hypervisor::acrn::ioctl_setup_asyncio ||
                             request == hypervisor::acrn::ioctl_setup_vm_event_ring;
        const std::size_t size =
            is_ring ? sizeof(hypervisor::acrn::SharedRingHeader) : request >> 16 & 0x3FFF;
        for (std::size_t i = 0; i < std::min(size, bytes.size()); ++i) {
            bytes.at(i) = input_.take<std::byte>();
        }
        if (is_ring && (kind & 1) != 0) {
            set_up_ring(request, kind, bytes);
            return;
        }
        if (request == ACRN_IOCTL_SET_IRQLINE || kind == 0xFF) {
            std::uint64_t value = 0;
            std::memcpy(&value, bytes.data(), sizeof value);
            bench_.call(request, value);
            return;
        }
        help(request, kind, bytes);
        const int result = bench_.call_with(request, bytes);
        // A VM that is paused or gone lets its processors go.
        if ((request == ACRN_IOCTL_PAUSE_VM || request == ACRN_IOCTL_DESTROY_VM) && result == 0) {
            join();
        }
    }

    void set_up_ring(unsigned long request, std::uint8_t kind,
                     const std::array<std::byte, 296>& bytes) {
        hypervisor::acrn::SharedRingHeader header{};
        std::memcpy(&header, bytes.data(), sizeof header);
        if ((kind & 2) != 0) {
            const bool events = request == hypervisor::acrn::ioctl_setup_vm_event_ring;
            header.magic = hypervisor::acrn::shared_ring_magic;
            header.element_size = events ? 32 : 8;
            header.elements = header.elements % 128 + 2;
            header.size = header.elements * header.element_size;
        }
        const std::uint64_t address = bench_.page_address() + 4096;
        if (bench_.client().store(address, header)) {
            bench_.call(request, address);
        }
    }

    /// Chance does not find a page, a descriptor or reserved zeros.
    void help(unsigned long request, std::uint8_t kind, std::array<std::byte, 296>& bytes) {
        const std::uint64_t page = bench_.page_address() + (kind >> 4) * 4096ULL;
        if (request == ACRN_IOCTL_CREATE_VM) {
            constexpr std::size_t reserved0 = offsetof(acrn_vm_creation, reserved0);
            constexpr std::size_t reserved1 = offsetof(acrn_vm_creation, reserved1);
            bytes[reserved0] = bytes[reserved0 + 1] = std::byte{0};
            bytes[reserved1] = bytes[reserved1 + 1] = std::byte{0};
            if ((kind & 1) != 0) {
                const std::uint64_t cpus = kind >> 1 & 7;
                const std::uint64_t own =
                    reinterpret_cast<std::uint64_t>(bench_.client().own_page().data());
                const std::uint64_t address = (kind & 0x80) != 0 ? own : bench_.page_address();
                std::memcpy(&bytes[offsetof(acrn_vm_creation, ioreq_buf)], &address, 8);
                std::memcpy(&bytes[offsetof(acrn_vm_creation, cpu_affinity)], &cpus, 8);
            }
        } else if (request == ACRN_IOCTL_SET_MEMSEG && (kind & 1) != 0) {
            acrn_vm_memmap segment{};
            std::memcpy(&segment, bytes.data(), sizeof segment);
            segment.type = ACRN_MEMMAP_RAM;
            segment.user_vm_pa &= ~std::uint64_t{0xFFF};
            segment.vma_base = page;
            segment.len = (segment.len & 0x1F) << 12;
            std::memcpy(bytes.data(), &segment, sizeof segment);
        } else if ((kind & 1) != 0 && help_with_devices(request, kind, bytes)) {
            return;
        } else if ((request == ACRN_IOCTL_IOEVENTFD || request == ACRN_IOCTL_IRQFD) &&
                   (kind & 1) != 0) {
            const int fd = eventfds_.at(kind >> 1 & 3).get();
            std::memcpy(bytes.data(), &fd, sizeof fd);
        }
    }

    /// Few places, so that calls meet; true where the request is one of a device.
    static bool help_with_devices(unsigned long request, std::uint8_t kind,
                                  std::array<std::byte, 296>& bytes) {
        const auto place = static_cast<std::uint16_t>((kind >> 1 & 3) << 3);
        if (request == ACRN_IOCTL_ASSIGN_PCIDEV || request == ACRN_IOCTL_DEASSIGN_PCIDEV ||
            request == ACRN_IOCTL_SET_PTDEV_INTR || request == ACRN_IOCTL_RESET_PTDEV_INTR) {
            const std::uint32_t type = kind >> 7;
            const std::uint16_t host = 0x10;
            std::memcpy(bytes.data(), &type, sizeof type);
            std::memcpy(&bytes[4], &place, sizeof place);
            std::memcpy(&bytes[6], &host, sizeof host);
            return true;
        }
        if (request == ACRN_IOCTL_CREATE_VDEV || request == ACRN_IOCTL_DESTROY_VDEV) {
            const std::uint32_t id = 0x9D14'8086;
            const std::uint64_t slot = place;
            std::memcpy(bytes.data(), &id, sizeof id);
            std::memcpy(&bytes[8], &slot, sizeof slot);
            return true;
        }
        if (request == ACRN_IOCTL_ASSIGN_MMIODEV || request == ACRN_IOCTL_DEASSIGN_MMIODEV) {
            acrn_mmiodev device{};
            std::memcpy(&device, bytes.data(), sizeof device);
            for (auto& range : device.res) {
                range.user_vm_pa &= 0xF000;
                range.service_vm_pa &= 0xF000;
                range.size &= 0x1000;
            }
            std::memcpy(bytes.data(), &device, sizeof device);
            return true;
        }
        return false;
    }

    /// One processor's access at a time, each on a thread, as it waits for the client.
    void access(std::uint8_t operation) {
        io::IoRequest request;
        request.kind = (operation & 1) != 0 ? io::IoKind::mmio : io::IoKind::port;
        request.direction = (operation & 2) != 0 ? io::IoDirection::write : io::IoDirection::read;
        request.size = static_cast<std::uint8_t>(1U << (operation >> 2 & 3));
        request.address = input_.take<std::uint16_t>();
        if (request.kind == io::IoKind::mmio && (operation & 16) != 0) {
            // Configuration space of the places where devices come.
            request.address = 0xE000'0000 | request.address;
        }
        request.value = input_.take<std::uint32_t>() & base::ones(request.size);
        if (request.kind == io::IoKind::port) {
            request.size = std::min<std::uint8_t>(request.size, 4);
        }
        processor([request](hypervisor::FakeVm& vm) { vm.access(request); });
    }
    void stop() {
        processor(
            [](hypervisor::FakeVm& vm) { vm.stop_if_running(hypervisor::VmStop::triple_fault); });
    }
    template <class Act>
    void processor(Act act) {
        // Without a VM there is none; one thread is one vCPU.
        if (processor_.joinable() || bench_.call(ACRN_IOCTL_START_VM) == -EINVAL) {
            return;
        }
        auto stay = std::make_unique<hypervisor::FakeVm::Stay>(bench_.vm());
        processor_ = std::thread([act, stay = std::move(stay)] { act(stay->vm()); });
    }
    void join() {
        if (processor_.joinable()) {
            processor_.join();
        }
    }

    void spoil_page() {
        const auto offset = input_.take<std::uint16_t>() & 0xFFC;
        const auto value = input_.take<std::uint32_t>();
        auto* const page = reinterpret_cast<std::byte*>(bench_.page_address());
        std::atomic_ref(*reinterpret_cast<std::uint32_t*>(page + offset)).store(value);
    }

    Input input_;
    std::array<base::FileDescriptor, 4> eventfds_;
    base::FileDescriptor physical_{memfd_create("physical", MFD_CLOEXEC)};
    std::unique_ptr<event::EventLoop> loop_ = std::move(*event::EventLoop::create());
    hsm::testing::OneModel::Log host_;
    SessionBench bench_;
    std::vector<std::shared_ptr<std::optional<int>>> waits_;
    std::thread processor_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t size_max = 4096;
    base::set_log_level(base::LogLevel::error);
    Fuzzer(data, std::min(size, size_max)).run();
    return 0;
}
