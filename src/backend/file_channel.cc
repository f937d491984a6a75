#include "backend/file_channel.h"

#include <fcntl.h>

#include "backend/fd_channel.h"

namespace cupule::backend {
namespace {

class FileChannel : public FdChannel {
  public:
    using FdChannel::FdChannel;
    base::Result<void> start(base::FileDescriptor output) {
        return attach(base::FileDescriptor(), std::move(output), Ending::each_way);
    }
    bool connected() const override { return true; }
};

}  // namespace

base::Result<std::unique_ptr<ByteChannel>> open_file_channel(const std::string& path,
                                                             event::EventLoop& loop,
                                                             event::Monitor& monitor) {
    constexpr int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY;
    CUPULE_TRY_ASSIGN(base::FileDescriptor file, base::open_file(path, flags, 0600));
    auto channel = std::make_unique<FileChannel>(loop, monitor, "file:" + path);
    CUPULE_TRY(channel->start(std::move(file)));
    return channel;
}

}  // namespace cupule::backend
