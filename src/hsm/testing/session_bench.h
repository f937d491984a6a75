#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/bits.h"
#include "event/mutex.h"
#include "hsm/vm_session.h"
#include "hypervisor/acrn/acrn_abi.h"
#include "hypervisor/acrn/hsm_port.h"
#include "hypervisor/fake/fake_vm.h"

namespace cupule::hsm::testing {

/// A client that lives in this process: 2 MiB of shared memory, a page of its own, nothing else.
/// With `everything`, all of this process is its memory (for a client under test).
class LocalProcess : public ClientProcess {
  public:
    static constexpr std::size_t shared_size = 2 << 20;

    explicit LocalProcess(bool can_shrink = false, bool everything = false)
        : everything_(everything), file_(memfd_create("client", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
        CUPULE_ASSERT(file_ && ftruncate(file_.get(), shared_size) == 0);
        if (!can_shrink) {
            fcntl(file_.get(), F_ADD_SEALS, F_SEAL_SHRINK);
        }
        shared_ = {static_cast<std::byte*>(mmap(nullptr, shared_size, PROT_READ | PROT_WRITE,
                                                MAP_SHARED, file_.get(), 0)),
                   shared_size};
        private_ = {static_cast<std::byte*>(mmap(nullptr, page, PROT_READ | PROT_WRITE,
                                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
                    page};
    }
    ~LocalProcess() override {
        munmap(shared_.data(), shared_.size());
        munmap(private_.data(), private_.size());
    }
    LocalProcess(const LocalProcess&) = delete;
    LocalProcess& operator=(const LocalProcess&) = delete;

    std::span<std::byte> shared() const { return shared_; }
    std::span<std::byte> own_page() const { return private_; }

    [[nodiscard]] bool read(std::uint64_t address, std::span<std::byte> to) const override {
        if (!has(address, to.size())) {
            return false;
        }
        for_each_piece(address, to.size(), [&](auto& word, std::size_t at) {
            const auto value = std::atomic_ref(word).load(std::memory_order_acquire);
            std::memcpy(&to[at], &value, sizeof value);
        });
        return true;
    }
    [[nodiscard]] bool write(std::uint64_t address,
                             std::span<const std::byte> from) const override {
        if (!has(address, from.size())) {
            return false;
        }
        for_each_piece(address, from.size(), [&](auto& word, std::size_t at) {
            std::remove_reference_t<decltype(word)> value{};
            std::memcpy(&value, &from[at], sizeof value);
            std::atomic_ref(word).store(value, std::memory_order_release);
        });
        return true;
    }
    base::Result<std::unique_ptr<SharedRange>> share(std::uint64_t address, std::uint64_t size,
                                                     Need need) const override {
        if (!base::contains(begin(shared_), shared_.size(), address, size)) {
            return base::fail_errno(EFAULT, "not shared");
        }
        if (need == Need::lasting && (fcntl(file_.get(), F_GET_SEALS) & F_SEAL_SHRINK) == 0) {
            return base::fail_errno(EPERM, "can shrink");
        }
        void* const mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(),
                                  static_cast<off_t>(address - begin(shared_)));
        CUPULE_ASSERT(mapped != MAP_FAILED);
        auto* const bytes = static_cast<std::byte*>(mapped);
        return std::make_unique<SharedRange>(bytes, size, bytes, size);
    }
    base::Result<base::FileDescriptor> take_descriptor(int fd) const override {
        base::FileDescriptor taken(fcntl(fd, F_DUPFD_CLOEXEC, 0));
        if (!taken) {
            return base::fail_errno(EBADF, "no such descriptor");
        }
        return taken;
    }
    /// Lives as long as the bench does.
    std::shared_ptr<const ClientProcess> keep() const override {
        return {std::shared_ptr<void>{}, this};
    }

  private:
    static constexpr std::size_t page = 4096;
    static std::uint64_t begin(std::span<std::byte> bytes) {
        return reinterpret_cast<std::uint64_t>(bytes.data());
    }
    /// As the kernel copies between processes: a word at once where it is aligned. Calls
    /// `visit(word or byte, its offset)`.
    template <class Visit>
    static void for_each_piece(std::uint64_t address, std::size_t size, Visit visit) {
        for (std::size_t at = 0; at < size;) {
            void* place = reinterpret_cast<void*>(address + at);
            if ((address + at) % sizeof(std::uint32_t) == 0 && size - at >= sizeof(std::uint32_t)) {
                visit(*static_cast<std::uint32_t*>(place), at);
                at += sizeof(std::uint32_t);
            } else {
                visit(*static_cast<std::uint8_t*>(place), at);
                ++at;
            }
        }
    }
    bool has(std::uint64_t address, std::uint64_t size) const {
        return (everything_ && address != 0) ||
               base::contains(begin(shared_), shared_.size(), address, size) ||
               base::contains(begin(private_), private_.size(), address, size);
    }

    bool everything_;
    base::FileDescriptor file_;
    std::span<std::byte> shared_;
    std::span<std::byte> private_;
};

/// One file of a service whose VMs have no processors: the test is the client and the guest.
class SessionBench {
  public:
    explicit SessionBench(bool can_shrink = false)
        : client_(can_shrink), session_(std::in_place, parts_) {}

    /// An ioctl by number or pointer.
    int call(unsigned long request, std::uint64_t argument = 0) {
        return session_->call(static_cast<std::uint32_t>(request), argument, client_);
    }
    /// With a structure in the client's memory, read back afterwards.
    template <class T>
    int call_with(unsigned long request, T& value) {
        const auto place = reinterpret_cast<std::uint64_t>(client_.shared().data());
        CUPULE_ASSERT(client_.store(place, value));
        const int result = call(request, place);
        value = *client_.load<T>(place);
        return result;
    }

    /// CREATE_VM with one vCPU for each bit of `cpus`, and the page at page_address().
    int create(std::uint64_t cpus = 1, std::uint64_t flags = 0, const char* name = "vm") {
        creation_ = {};
        std::memcpy(&creation_.uuid, name, std::min<std::size_t>(strlen(name), 15));
        creation_.vm_flag = flags;
        creation_.ioreq_buf = page_address_;
        creation_.cpu_affinity = cpus;
        return call_with(ACRN_IOCTL_CREATE_VM, creation_);
    }
    /// A running VM with a client.
    void run(std::uint64_t cpus = 1, std::uint64_t flags = 0) {
        CUPULE_ASSERT(create(cpus, flags) == 0);
        CUPULE_ASSERT(call(ACRN_IOCTL_CREATE_IOREQ_CLIENT) == 0);
        CUPULE_ASSERT(call(ACRN_IOCTL_START_VM) == 0);
    }
    /// ATTACH; what it has ended with so far, if it has, is in the result.
    std::shared_ptr<std::optional<int>> attach(std::uint64_t id = 1) {
        auto result = std::make_shared<std::optional<int>>();
        session_->attach(id, [result](int value) { *result = value; });
        return result;
    }
    int notify(unsigned vcpu) {
        acrn_ioreq_notify request{};
        request.vmid = creation_.vmid;
        request.vcpu = vcpu;
        return call_with(ACRN_IOCTL_NOTIFY_REQUEST_FINISH, request);
    }

    void use_own_page() {
        page_address_ = reinterpret_cast<std::uint64_t>(client_.own_page().data());
    }
    volatile acrn_io_request& slot(unsigned vcpu) {
        return reinterpret_cast<acrn_io_request_buffer*>(page_address_)->req_slot[vcpu];
    }
    std::uint64_t page_address() const { return page_address_; }

    LocalProcess& client() { return client_; }
    VmSession& session() { return *session_; }
    ServiceParts& parts() { return parts_; }
    const acrn_vm_creation& creation() const { return creation_; }
    /// The hypervisor's VM made last; valid while it lives.
    hypervisor::FakeVm& vm() { return *vm_; }
    const hypervisor::VmSpec& spec() const { return spec_; }
    void close() { session_.reset(); }

  private:
    LocalProcess client_;
    hypervisor::FakeVm* vm_ = nullptr;
    hypervisor::VmSpec spec_;
    ServiceParts parts_{.make_vm = [this](const hypervisor::VmSpec& spec)
                            -> base::Result<std::unique_ptr<hypervisor::Vm>> {
                            auto vm = std::make_unique<hypervisor::FakeVm>(spec, 48);
                            vm_ = vm.get();
                            spec_ = spec;
                            return vm;
                        },
                        .cpus = {{.lapic_id = 0, .host_cpu = 0},
                                 {.lapic_id = 2, .host_cpu = 1},
                                 {.lapic_id = 4, .host_cpu = 2},
                                 {.lapic_id = 6, .host_cpu = std::nullopt}}};
    /// In the middle of the shared memory: its beginning is for arguments.
    std::uint64_t page_address_ =
        reinterpret_cast<std::uint64_t>(client_.shared().data()) + LocalProcess::shared_size / 2;
    acrn_vm_creation creation_{};
    std::optional<VmSession> session_;
};

/// The file as a client's own code sees it: ATTACH blocks.
class SessionPort : public hypervisor::acrn::HsmPort {
  public:
    SessionPort(VmSession& session, const ClientProcess& client)
        : session_(session), client_(client) {}

    int call(unsigned long request, std::uintptr_t argument) override {
        if (request != ACRN_IOCTL_ATTACH_IOREQ_CLIENT) {
            return session_.call(static_cast<std::uint32_t>(request), argument, client_);
        }
        struct Wait {
            event::Mutex mutex;
            event::Condition done;
            std::optional<int> result CUPULE_GUARDED_BY(mutex);
        };
        const auto wait = std::make_shared<Wait>();
        session_.attach(reinterpret_cast<std::uint64_t>(wait.get()), [wait](int result) {
            event::MutexLock lock(wait->mutex);
            wait->result = result;
            wait->done.notify_all();
        });
        event::MutexLock lock(wait->mutex);
        while (!wait->result) {
            wait->done.wait(wait->mutex);
        }
        return *wait->result;
    }

  private:
    VmSession& session_;
    const ClientProcess& client_;
};

}  // namespace cupule::hsm::testing
