#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "event/mutex.h"
#include "hsm/vm_session.h"

struct fuse_session;
struct fuse_req;

namespace cupule::hsm {

/// A character device of this host whose ioctls VmSession answers, by CUSE (libfuse3,
/// cuse_lowlevel.h): one session for each open file. Needs the kernel's module `cuse` and root.
class CuseService {
  public:
    /// Makes /dev/`name`. `parts` outlives the service.
    static base::Result<std::unique_ptr<CuseService>> create(const std::string& name,
                                                             ServiceParts& parts);
    /// Takes the device away; the VMs that are left end.
    ~CuseService();
    CuseService(const CuseService&) = delete;
    CuseService& operator=(const CuseService&) = delete;

    /// Answers requests on several threads until `stop_fd` is readable or the device is gone.
    void run(int stop_fd);

    // What the device's functions call; `file` is what `open` gave.

    std::uint64_t open() CUPULE_EXCLUDES(mutex_);
    void close(std::uint64_t file) CUPULE_EXCLUDES(mutex_);
    int call(std::uint64_t file, std::uint32_t request, std::uint64_t argument, int thread);
    void attach(std::uint64_t file, fuse_req* request) CUPULE_EXCLUDES(mutex_);
    void interrupt(std::uint64_t attach_id) CUPULE_EXCLUDES(mutex_);

  private:
    explicit CuseService(ServiceParts& parts) : parts_(parts) {}
    std::shared_ptr<VmSession> session(std::uint64_t file) CUPULE_EXCLUDES(mutex_);
    void serve();

    ServiceParts& parts_;
    fuse_session* fuse_ = nullptr;
    std::atomic<bool> stopping_{false};
    std::atomic<unsigned> serving_{0};

    /// Guards the tables. Nothing is called with it held.
    event::Mutex mutex_;
    std::uint64_t next_id_ CUPULE_GUARDED_BY(mutex_) = 1;
    std::map<std::uint64_t, std::shared_ptr<VmSession>> sessions_ CUPULE_GUARDED_BY(mutex_);
    /// Attaches that no session knows yet, and whether a signal came meanwhile.
    std::map<std::uint64_t, bool> attaching_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::hsm
