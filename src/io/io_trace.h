#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "event/clock.h"
#include "event/mutex.h"
#include "io/io_request.h"

namespace cupule::io {

/// Receives every request after it completed. Any thread.
class IoTracer {
  public:
    virtual ~IoTracer() = default;
    virtual void record(const IoRequest& request, std::string_view device,
                        std::string_view register_name) = 0;
};

/// `--trace-io FILE`: a line a request, "seconds vcpu kind direction size address device register
/// value".
class IoTraceFile : public IoTracer {
  public:
    static base::Result<std::unique_ptr<IoTraceFile>> create(const std::string& path,
                                                             const event::Clock& clock);
    ~IoTraceFile() override;
    void record(const IoRequest& request, std::string_view device,
                std::string_view register_name) override CUPULE_EXCLUDES(mutex_);

  private:
    IoTraceFile(std::FILE* file, const event::Clock& clock);
    const event::Clock& clock_;
    const std::uint64_t start_ns_;
    /// Keeps lines whole. A leaf lock.
    event::Mutex mutex_;
    std::FILE* file_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::io
