#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "vhost_user/back_end.h"

namespace cupule::vhost_user {

/// Serves a device to the front ends that connect to a socket, one after another: who comes while
/// one is there waits for its end. Made and destroyed without the monitor, which it takes.
class BackEndServer {
  public:
    /// Listens at `path` (backend::listen_unix), whose file is removed in the end.
    static base::Result<std::unique_ptr<BackEndServer>> create(const BackEndPowers& powers,
                                                               const std::string& path);
    /// The loop does not run any more.
    ~BackEndServer();
    BackEndServer(const BackEndServer&) = delete;
    BackEndServer& operator=(const BackEndServer&) = delete;

  private:
    BackEndServer(const BackEndPowers& powers, std::string path)
        : powers_(powers), path_(std::move(path)) {}
    void came();
    void left();

    const BackEndPowers powers_;
    const std::string path_;
    base::FileDescriptor listener_;
    std::unique_ptr<event::FdWatch> watch_;
    std::unique_ptr<BackEnd> session_;
};

}  // namespace cupule::vhost_user
