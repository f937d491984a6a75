#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "event/event_loop.h"
#include "event/mutex.h"

namespace cupule::hsm {

/// Memory between virtual machines, by a name as ACRN's scenarios give it ("hv:/NAME"). Its pages
/// and its peers, each by the number of its VM. Any thread.
class SharedMemory {
  public:
    /// `size`: a power of two from 2 MiB to 512 MiB. `loop` outlives it.
    static base::Result<std::unique_ptr<SharedMemory>> create(std::uint64_t size,
                                                              event::EventLoop& loop);
    ~SharedMemory();
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;

    std::byte* data() const { return data_; }
    std::uint64_t size() const { return size_; }

    /// Called on the loop's thread, with no monitor held.
    using Bell = std::function<void(unsigned vector)>;
    /// False where the VM is one already.
    bool join(std::uint16_t peer, Bell bell) CUPULE_EXCLUDES(mutex_);
    /// No bell of this peer is being rung any more when it returns. Without its monitor held.
    void leave(std::uint16_t peer) CUPULE_EXCLUDES(mutex_);
    /// Soon; nothing where there is no such peer. Any monitor may be held.
    void ring(std::uint16_t peer, unsigned vector) CUPULE_EXCLUDES(ringing_mutex_);

  private:
    SharedMemory(std::byte* data, std::uint64_t size, event::EventLoop& loop)
        : data_(data), size_(size), loop_(loop) {}

    std::byte* const data_;
    const std::uint64_t size_;
    event::EventLoop& loop_;
    /// Who is to be rung already: a guest that rings faster than it is heard costs nothing more. A
    /// leaf lock.
    event::Mutex ringing_mutex_;
    std::set<std::pair<std::uint16_t, unsigned>> ringing_ CUPULE_GUARDED_BY(ringing_mutex_);
    /// Guards the peers; a bell takes the monitor of its function inside.
    event::Mutex mutex_;
    std::map<std::uint16_t, Bell> peers_ CUPULE_GUARDED_BY(mutex_);
};

/// What a service has, fixed before its first VM.
using SharedMemories = std::map<std::string, std::unique_ptr<SharedMemory>, std::less<>>;

}  // namespace cupule::hsm
