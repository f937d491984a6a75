#include "vhost_user/front_end.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "backend/unix_socket.h"
#include "vhost_user/vring_base.h"
#include "virtio/features.h"
#include "virtio/ring_layout.h"

namespace cupule::vhost_user {
namespace {

constexpr std::uint64_t protocol_wanted = protocol_feature::mq | protocol_feature::reply_ack |
                                          protocol_feature::backend_req | protocol_feature::config |
                                          protocol_feature::inflight_shmfd;

/// Never a driver's: they belong to the protocol, to the transport, or need an IOMMU.
constexpr std::uint64_t not_for_drivers =
    has_protocol_features | log_all | virtio::feature::access_platform |
    virtio::feature::notification_data | virtio::feature::notif_config_data;

/// More requests than this without an end are no news.
constexpr unsigned news_max = 16;

std::uint64_t now_ms() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

base::Result<base::FileDescriptor> copy_of(int fd) {
    base::FileDescriptor copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy) {
        return base::fail_errno(errno, "cannot duplicate file descriptor {}", fd);
    }
    return copy;
}

}  // namespace

base::Result<std::unique_ptr<FrontEnd>> FrontEnd::connect(const std::string& path, int give_up_fd) {
    CUPULE_TRY_ASSIGN(auto socket, backend::connect_unix(path));
    auto front_end = over(std::move(socket), give_up_fd);
    if (!front_end) {
        return std::unexpected(front_end.error().in(path));
    }
    return front_end;
}

base::Result<std::unique_ptr<FrontEnd>> FrontEnd::over(base::FileDescriptor socket,
                                                       int give_up_fd) {
    std::unique_ptr<FrontEnd> front_end(new FrontEnd(std::move(socket), give_up_fd));
    front_end->begin();
    CUPULE_TRY(front_end->agree());
    return front_end;
}

void FrontEnd::begin() {
    deadline_ms_ = now_ms() + timeout_ms;
}

unsigned FrontEnd::time_left() const {
    const std::uint64_t now = now_ms();
    return now < deadline_ms_ ? static_cast<unsigned>(deadline_ms_ - now) : 0;
}

base::Result<Message> FrontEnd::ask(Message message) {
    const auto request = static_cast<Request>(message.request);
    CUPULE_TRY(connection_.send(message, time_left()));
    CUPULE_TRY_ASSIGN(Message answer, connection_.wait(time_left()));
    CUPULE_TRY(check_reply(answer, request));
    return answer;
}

base::Result<bool> FrontEnd::offer(Message message) {
    if (!has(protocol_feature::reply_ack)) {
        CUPULE_TRY(connection_.send(message, time_left()));
        return true;
    }
    message.flags |= flag::need_reply;
    CUPULE_TRY_ASSIGN(const Message answer, ask(std::move(message)));
    return answer.get<std::uint64_t>() == 0;
}

base::Result<void> FrontEnd::tell(Message message) {
    const std::uint32_t request = message.request;
    CUPULE_TRY_ASSIGN(const bool taken, offer(std::move(message)));
    if (!taken) {
        return base::fail("the back end refuses {}", name_of(request));
    }
    return {};
}

base::Result<std::uint64_t> FrontEnd::ask_word(Request request) {
    CUPULE_TRY_ASSIGN(const Message answer, ask(make_message(request)));
    return answer.get<std::uint64_t>();
}

base::Result<void> FrontEnd::agree() {
    CUPULE_TRY_ASSIGN(raw_features_, ask_word(Request::get_features));
    features_ = raw_features_ & ~not_for_drivers;
    if ((raw_features_ & has_protocol_features) != 0) {
        CUPULE_TRY_ASSIGN(const std::uint64_t offered, ask_word(Request::get_protocol_features));
        CUPULE_TRY(connection_.send(
            make_message(Request::set_protocol_features, offered & protocol_wanted), time_left()));
        protocol_features_ = offered & protocol_wanted;
    }
    if (has(protocol_feature::mq)) {
        CUPULE_TRY_ASSIGN(queues_, ask_word(Request::get_queue_num));
    }
    CUPULE_TRY(tell(make_message(Request::set_owner)));
    return has(protocol_feature::backend_req) ? open_back_channel() : base::Result<void>{};
}

base::Result<void> FrontEnd::open_back_channel() {
    int ends[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return base::fail_errno(errno, "cannot make a socket for the back end's requests");
    }
    back_channel_.emplace(base::FileDescriptor(ends[0]));
    Message message = make_message(Request::set_backend_req_fd);
    message.descriptors.emplace_back(ends[1]);
    return tell(std::move(message));
}

base::Result<std::vector<std::uint8_t>> FrontEnd::read_config(std::uint32_t size) {
    Message message = make_message(Request::get_config, ConfigHead{.offset = 0, .size = size});
    const std::vector<std::byte> room(size);
    message.put_bytes(room);
    CUPULE_TRY_ASSIGN(const Message answer, ask(std::move(message)));
    if (answer.get<ConfigHead>().size != size) {
        return base::fail("the back end gives {} bytes of configuration space, {} are wanted",
                          answer.get<ConfigHead>().size, size);
    }
    std::vector<std::uint8_t> bytes(size);
    for (std::uint32_t i = 0; i < size; ++i) {
        bytes[i] = answer.get<std::uint8_t>(sizeof(ConfigHead) + i);
    }
    return bytes;
}

base::Result<bool> FrontEnd::write_config(std::uint32_t offset,
                                          std::span<const std::uint8_t> bytes) {
    Message message = make_message(
        Request::set_config,
        ConfigHead{.offset = offset, .size = static_cast<std::uint32_t>(bytes.size())});
    message.put_bytes(std::as_bytes(bytes));
    return offer(std::move(message));
}

base::Result<FrontEnd::InflightFile> FrontEnd::make_inflight(std::uint16_t queues,
                                                             std::uint16_t queue_size) {
    CUPULE_TRY_ASSIGN(Message answer,
                      ask(make_message(Request::get_inflight_fd,
                                       Inflight{.queues = queues, .queue_size = queue_size})));
    if (answer.descriptors.empty()) {
        return base::fail("the back end has no memory for requests in flight");
    }
    return InflightFile{.description = answer.get<Inflight>(),
                        .file = std::move(answer.descriptors.front())};
}

base::Result<void> FrontEnd::set_features(std::uint64_t features) {
    return tell(
        make_message(Request::set_features, features | (raw_features_ & has_protocol_features)));
}

base::Result<void> FrontEnd::set_up(const Start& start) {
    CUPULE_TRY(set_features(start.features));
    memory_ = &start.memory;
    if (start.inflight != nullptr) {
        Message message = make_message(Request::set_inflight_fd, start.inflight->description);
        CUPULE_TRY_ASSIGN(auto file, start.inflight->file.duplicate());
        message.descriptors.push_back(std::move(file));
        CUPULE_TRY(tell(std::move(message)));
    }
    return send_memory(start.memory);
}

base::Result<void> FrontEnd::send_memory(const memory::GuestMemory& memory) {
    const auto regions = memory.regions();
    if (memory.file() < 0) {
        return base::fail("RAM is not shared");
    }
    if (regions.size() > regions_max) {
        return base::fail("RAM has {} pieces; vhost-user knows {}", regions.size(), regions_max);
    }
    Message message =
        make_message(Request::set_mem_table,
                     MemoryTableHead{.count = static_cast<std::uint32_t>(regions.size())});
    for (const memory::RamRegion& region : regions) {
        message.put(MemoryRegion{.guest_address = region.base.value,
                                 .size = region.size,
                                 .user_address = reinterpret_cast<std::uintptr_t>(region.host),
                                 .file_offset = region.file_offset});
        CUPULE_TRY_ASSIGN(auto file, copy_of(memory.file()));
        message.descriptors.push_back(std::move(file));
    }
    return tell(std::move(message));
}

base::Result<void> FrontEnd::send_file(Request request, std::uint16_t ring, int fd) {
    Message message = make_message(request, std::uint64_t{ring});
    CUPULE_TRY_ASSIGN(auto file, copy_of(fd));
    message.descriptors.push_back(std::move(file));
    return tell(std::move(message));
}

base::Result<void> FrontEnd::start_ring(const virtio::RunningQueue& queue, bool enabled,
                                        int error_fd) {
    const std::uint16_t index = queue.index;
    const virtio::QueueGeometry& at = queue.queue.geometry();
    const bool packed = queue.queue.packed();
    const auto user_address = [this](memory::GuestAddress area) -> std::uint64_t {
        return reinterpret_cast<std::uintptr_t>(memory_->span(area, 1).data());
    };
    CUPULE_TRY(
        tell(make_message(Request::set_vring_num, VringState{.index = index, .number = at.size})));
    CUPULE_TRY(tell(make_message(
        Request::set_vring_base,
        VringState{.index = index, .number = base_of(queue.queue.position(), packed)})));
    CUPULE_TRY(tell(make_message(Request::set_vring_addr,
                                 VringAddress{.index = index,
                                              .flags = 0,
                                              .descriptors = user_address(at.descriptor_area),
                                              .used = user_address(at.device_area),
                                              .available = user_address(at.driver_area),
                                              .log = 0})));
    if (error_fd >= 0) {
        CUPULE_TRY(send_file(Request::set_vring_err, index, error_fd));
    }
    CUPULE_TRY(send_file(Request::set_vring_call, index, queue.call_fd));
    CUPULE_TRY(send_file(Request::set_vring_kick, index, queue.kick_fd));
    return enabled ? enable_ring(index, true) : base::Result<void>{};
}

base::Result<void> FrontEnd::enable_ring(std::uint16_t index, bool enabled) {
    if ((raw_features_ & has_protocol_features) == 0) {
        return {};
    }
    return tell(make_message(Request::set_vring_enable,
                             VringState{.index = index, .number = enabled ? 1U : 0U}));
}

base::Result<std::uint32_t> FrontEnd::stop_ring(std::uint16_t index) {
    CUPULE_TRY_ASSIGN(const Message answer,
                      ask(make_message(Request::get_vring_base, VringState{.index = index})));
    return answer.get<VringState>().number;
}

base::Result<void> FrontEnd::settle() {
    // An answer to this comes behind all that was said before.
    CUPULE_TRY(ask_word(Request::get_features));
    return {};
}

base::Result<void> FrontEnd::check_alive() {
    CUPULE_TRY_ASSIGN(const auto message, connection_.receive());
    if (message) {
        return base::fail("the back end sends a message that nobody asked for");
    }
    return {};
}

base::Result<unsigned> FrontEnd::hear_back_channel() {
    unsigned changes = 0;
    for (unsigned i = 0; i < news_max; ++i) {
        CUPULE_TRY_ASSIGN(const auto message, back_channel_->receive());
        if (!message) {
            break;
        }
        CUPULE_TRY(check_request(*message, Asker::back_end));
        ++changes;
        if (message->needs_reply() && has(protocol_feature::reply_ack)) {
            Message answer{.request = message->request, .flags = flag::version | flag::reply};
            answer.put(std::uint64_t{0});
            CUPULE_TRY(back_channel_->send(answer, 0));
        }
    }
    return changes;
}

}  // namespace cupule::vhost_user
