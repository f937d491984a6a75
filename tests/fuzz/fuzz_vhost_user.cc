// Any bytes as vhost-user messages: to our back end as a front end that means harm sends them, then
// to our front end as a back end's answers. After each input a well-behaved front end must be
// served.

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <optional>

#include "base/assert.h"
#include "device/storage/virtio_blk.h"
#include "event/worker.h"
#include "input.h"
#include "vhost_user/back_end.h"
#include "vhost_user/front_end.h"

namespace {

using namespace cupule;
using fuzz::Input;
using vhost_user::Connection;
using vhost_user::Message;

constexpr std::uint64_t ram_bytes = 64 << 10;

base::FileDescriptor make_ram() {
    base::FileDescriptor file(memfd_create("ram", MFD_CLOEXEC));
    CUPULE_ASSERT(ftruncate(file.get(), ram_bytes) == 0);
    return file;
}

std::array<base::FileDescriptor, 2> make_sockets() {
    int ends[2] = {-1, -1};
    CUPULE_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    return {base::FileDescriptor(ends[0]), base::FileDescriptor(ends[1])};
}

Message take_message(Input& input, std::uint32_t flags) {
    Message message{.request = input.take<std::uint8_t>() % 40U, .flags = flags};
    const auto shape = input.take<std::uint8_t>();
    message.put_bytes(input.bytes(shape % 64));
    for (unsigned i = 0; i < shape / 64U; ++i) {
        message.descriptors.push_back(
            input.take<std::uint8_t>() % 2 == 0 ? make_ram() : std::move(*base::make_eventfd()));
    }
    return message;
}

class Machine {
  public:
    void serve(Input& input) {
        connect();
        while (!input.empty() && !ended_) {
            const auto flags = input.take<std::uint8_t>();
            if (!peer_->send(take_message(input, flags & 0xFU), 0)) {
                break;
            }
            turn();
            drain();
        }
        connect();
        CUPULE_ASSERT(peer_->send(make_message(vhost_user::Request::get_features), 0));
        turn();
        CUPULE_ASSERT(peer_->wait(0).has_value());
    }

    /// A front end that hears what the input says, all at once.
    static void ask(Input& input) {
        auto [ours, theirs] = make_sockets();
        Connection back_end(std::move(theirs));
        for (int i = 0; i < 16 && !input.empty(); ++i) {
            const auto flags = input.take<std::uint8_t>();
            static_cast<void>(back_end.send(take_message(input, flags & 0xFU), 0));
        }
        shutdown(back_end.fd(), SHUT_WR);
        auto front_end = vhost_user::FrontEnd::over(std::move(ours));
        if (front_end && (*front_end)->read_config(60)) {
            static_cast<void>((*front_end)->make_inflight(1, 64));
            static_cast<void>((*front_end)->stop_ring(0));
        }
    }

  private:
    void connect() {
        auto [theirs, ours] = make_sockets();
        event::MutexLock lock(monitor_);
        back_end_.reset();
        ended_ = false;
        back_end_ = std::move(*vhost_user::BackEnd::create(
            {.device = device_, .loop = *loop_, .monitor = monitor_, .queues = 2},
            std::move(theirs), [this] { ended_ = true; }));
        peer_.emplace(std::move(ours));
    }
    void turn() {
        for (int i = 0; i < 4; ++i) {
            loop_->run_once(0);
        }
    }
    void drain() {
        for (int i = 0; i < 16; ++i) {
            if (!peer_->receive().value_or(std::nullopt)) {
                return;
            }
        }
    }

    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("fuzz");
    std::array<event::Worker*, 1> workers_{worker_.get()};
    device::VirtioBlk device_{{.serial = "fuzz", .queues = 2}, nullptr, workers_};
    std::unique_ptr<event::EventLoop> loop_ = *event::EventLoop::create();
    event::Monitor monitor_;
    std::unique_ptr<vhost_user::BackEnd> back_end_;
    std::optional<Connection> peer_;
    bool ended_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Machine machine;
    Input input(data, size);
    if (input.take<std::uint8_t>() % 2 == 0) {
        machine.serve(input);
    } else {
        Machine::ask(input);
    }
    return 0;
}
