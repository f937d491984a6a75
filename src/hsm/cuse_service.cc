#define FUSE_USE_VERSION 314

#include "hsm/cuse_service.h"

#include <cuse_lowlevel.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "hypervisor/acrn/acrn_abi.h"

namespace cupule::hsm {
namespace {

/// Calls that wait for processors to stop (PAUSE, DESTROY, close) hold a thread for a moment.
constexpr unsigned threads = 4;

CuseService& service_of(fuse_req_t request) {
    return *static_cast<CuseService*>(fuse_req_userdata(request));
}

void device_open(fuse_req_t request, fuse_file_info* file) {
    CuseService& service = service_of(request);
    file->fh = service.open();
    if (fuse_reply_open(request, file) < 0) {
        service.close(file->fh);  // The opener was killed meanwhile: no release follows.
    }
}

void device_release(fuse_req_t request, fuse_file_info* file) {
    service_of(request).close(file->fh);
    fuse_reply_err(request, 0);
}

void reply(fuse_req_t request, int result) {
    if (result < 0) {
        fuse_reply_err(request, -result);
    } else {
        fuse_reply_ioctl(request, result, nullptr, 0);
    }
}

void device_ioctl(fuse_req_t request, int command, void* argument, fuse_file_info* file,
                  unsigned flags, const void* /*in*/, std::size_t /*in_size*/,
                  std::size_t /*out_size*/) {
    if ((flags & FUSE_IOCTL_COMPAT) != 0) {
        // The upstream driver has no 32-bit entry either.
        fuse_reply_err(request, ENOTTY);
        return;
    }
    CuseService& service = service_of(request);
    const auto number = static_cast<std::uint32_t>(command);
    if (number == ACRN_IOCTL_ATTACH_IOREQ_CLIENT) {
        service.attach(file->fh, request);
        return;
    }
    reply(request, service.call(file->fh, number, reinterpret_cast<std::uint64_t>(argument),
                                fuse_req_ctx(request)->pid));
}

void attach_interrupted(fuse_req_t request, void* id) {
    service_of(request).interrupt(reinterpret_cast<std::uint64_t>(id));
}

cuse_lowlevel_ops device_functions() {
    cuse_lowlevel_ops functions{};
    functions.open = device_open;
    functions.release = device_release;
    functions.ioctl = device_ioctl;
    return functions;
}

/// KVM's kick is SIGRTMIN.
int stop_signal() {
    return SIGRTMIN + 1;
}

}  // namespace

base::Result<std::unique_ptr<CuseService>> CuseService::create(const std::string& name,
                                                               ServiceParts& parts) {
    if (const auto cuse = base::open_file("/dev/cuse", O_RDWR); !cuse) {
        return base::fail(
            "{}; character devices in user space need root and the kernel's module: "
            "`modprobe cuse`",
            cuse.error().message);
    }
    std::unique_ptr<CuseService> service(new CuseService(parts));
    const std::string device = "DEVNAME=" + name;
    const char* information[] = {device.c_str()};
    cuse_info info{};
    info.dev_info_argc = 1;
    info.dev_info_argv = information;
    info.flags = CUSE_UNRESTRICTED_IOCTL;
    std::string program = "cupule";
    std::string foreground = "-f";
    char* arguments[] = {program.data(), foreground.data(), nullptr};
    const cuse_lowlevel_ops functions = device_functions();
    int multithreaded = 0;
    service->fuse_ =
        cuse_lowlevel_setup(2, arguments, &info, &functions, &multithreaded, service.get());
    if (service->fuse_ == nullptr) {
        return base::fail("the device /dev/{} cannot be made: libfuse's message stands above",
                          name);
    }
    return service;
}

CuseService::~CuseService() {
    std::map<std::uint64_t, std::shared_ptr<VmSession>> sessions;
    {
        event::MutexLock lock(mutex_);
        sessions = std::exchange(sessions_, {});
    }
    for (const auto& [file, session] : sessions) {
        session->release();
    }
    if (fuse_ != nullptr) {
        cuse_lowlevel_teardown(fuse_);
    }
}

// The threads sleep in read(2), of which the kernel wakes one for each request; in poll(2) it would
// wake them all. So it takes a signal to end them, again until each has seen it.
void CuseService::run(int stop_fd) {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // Only to end the read; hence no SA_RESTART.
    sigemptyset(&action.sa_mask);
    sigaction(stop_signal(), &action, nullptr);
    serving_ = threads;
    std::vector<std::thread> servers;
    for (unsigned i = 0; i < threads; ++i) {
        servers.emplace_back([this] { serve(); });
        pthread_setname_np(servers.back().native_handle(), fmt::format("hsm {}", i).c_str());
    }
    pollfd wait{};
    wait.fd = stop_fd;
    wait.events = POLLIN;
    constexpr int look_ms = 1000;  // for a device that has come to its end by itself
    while (serving_ != 0 && ::poll(&wait, 1, look_ms) == 0) {
    }
    stopping_ = true;
    constexpr std::chrono::milliseconds again{5};
    while (serving_ != 0) {
        for (std::thread& server : servers) {
            pthread_kill(server.native_handle(), stop_signal());
        }
        std::this_thread::sleep_for(again);
    }
    for (std::thread& server : servers) {
        server.join();
    }
}

void CuseService::serve() {
    sigset_t all_but_stop;
    sigfillset(&all_but_stop);
    sigdelset(&all_but_stop, stop_signal());
    pthread_sigmask(SIG_SETMASK, &all_but_stop, nullptr);
    fuse_buf buffer{};
    while (!stopping_ && fuse_session_exited(fuse_) == 0) {
        const int size = fuse_session_receive_buf(fuse_, &buffer);
        if (size > 0) {
            fuse_session_process_buf(fuse_, &buffer);
        } else if (size != -EINTR && size != -EAGAIN) {
            base::log_error("the device has come to its end: {}", base::errno_text(-size));
            break;
        }
    }
    std::free(buffer.mem);
    --serving_;
}

std::uint64_t CuseService::open() {
    event::MutexLock lock(mutex_);
    const std::uint64_t file = next_id_++;
    sessions_.emplace(file, std::make_shared<VmSession>(parts_));
    return file;
}

void CuseService::close(std::uint64_t file) {
    std::shared_ptr<VmSession> closing;
    {
        event::MutexLock lock(mutex_);
        const auto found = sessions_.find(file);
        if (found == sessions_.end()) {
            return;
        }
        closing = std::move(found->second);
        sessions_.erase(found);
    }
    closing->release();
}

std::shared_ptr<VmSession> CuseService::session(std::uint64_t file) {
    event::MutexLock lock(mutex_);
    const auto found = sessions_.find(file);
    return found == sessions_.end() ? nullptr : found->second;
}

int CuseService::call(std::uint64_t file, std::uint32_t request, std::uint64_t argument,
                      int thread) {
    const std::shared_ptr<VmSession> session = this->session(file);
    return session ? session->call(request, argument, LinuxProcess(thread)) : -EBADF;
}

void CuseService::attach(std::uint64_t file, fuse_req* request) {
    const std::shared_ptr<VmSession> session = this->session(file);
    if (!session) {
        reply(request, -EBADF);
        return;
    }
    std::uint64_t id = 0;
    {
        event::MutexLock lock(mutex_);
        id = next_id_++;
        attaching_.emplace(id, false);
    }
    // From here a signal can be reported at any time, and behind `attach` the request may be gone.
    fuse_req_interrupt_func(request, attach_interrupted, reinterpret_cast<void*>(id));
    session->attach(id, [request](int result) { reply(request, result); });
    bool interrupted = false;
    {
        event::MutexLock lock(mutex_);
        interrupted = attaching_.extract(id).mapped();
    }
    if (interrupted) {
        session->interrupt(id);
    }
}

void CuseService::interrupt(std::uint64_t attach_id) {
    std::vector<std::shared_ptr<VmSession>> sessions;
    {
        event::MutexLock lock(mutex_);
        if (const auto found = attaching_.find(attach_id); found != attaching_.end()) {
            found->second = true;
            return;
        }
        for (const auto& [file, session] : sessions_) {
            sessions.push_back(session);
        }
    }
    for (const std::shared_ptr<VmSession>& session : sessions) {
        session->interrupt(attach_id);
    }
}

}  // namespace cupule::hsm
