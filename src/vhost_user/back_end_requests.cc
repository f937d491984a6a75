// What a front end can ask.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "vhost_user/back_end.h"
#include "vhost_user/vring_base.h"

namespace cupule::vhost_user {
namespace {

constexpr unsigned send_timeout_ms = 1000;
constexpr std::uint64_t protocol_known =
    protocol_feature::mq | protocol_feature::reply_ack | protocol_feature::backend_req |
    protocol_feature::config | protocol_feature::inflight_shmfd | protocol_feature::reset_device;

/// Rings are rung by eventfds: anything else could make a worker wait.
base::Result<void> check_bell(const base::FileDescriptor& file, std::string_view name) {
    std::array<char, 64> kind{};
    const std::string path = fmt::format("/proc/self/fd/{}", file.get());
    const ssize_t length = readlink(path.c_str(), kind.data(), kind.size());
    const std::string_view text(kind.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    if (text != "anon_inode:[eventfd]") {
        return base::fail("{} brings a '{}'; an eventfd is wanted", name, text);
    }
    if (fcntl(file.get(), F_SETFL, O_NONBLOCK) < 0) {
        return base::fail_errno(errno, "{} brings an eventfd that cannot be used", name);
    }
    return {};
}

}  // namespace

base::Result<void> BackEnd::handle(Message message) {
    auto result = check_request(message, Asker::front_end);
    if (result) {
        result = dispatch(message);
    }
    if (const auto answered = answer_if_wanted(message, !result); result && !answered) {
        return answered;
    }
    return result;
}

base::Result<void> BackEnd::answer_if_wanted(const Message& request, bool failed) {
    const bool wanted = request.needs_reply() && negotiated(protocol_feature::reply_ack) &&
                        !has_reply(static_cast<Request>(request.request));
    return wanted ? reply(request, std::uint64_t{failed ? 1U : 0U}) : base::Result<void>{};
}

template <class T>
base::Result<void> BackEnd::reply(const Message& request, const T& payload) {
    Message message{.request = request.request, .flags = flag::version | flag::reply};
    message.put(payload);
    return connection_.send(message, send_timeout_ms);
}

base::Result<void> BackEnd::dispatch(Message& message) {
    switch (static_cast<Request>(message.request)) {
        case Request::get_features:
            return reply(message, offered());
        case Request::set_features:
            return set_features(message.get<std::uint64_t>());
        case Request::get_protocol_features:
            return reply(message, protocol_offered());
        case Request::set_protocol_features:
            return set_protocol_features(message.get<std::uint64_t>());
        case Request::get_queue_num:
            return reply(message, std::uint64_t{rings_.size() / powers_.queues_in_one});
        case Request::set_owner:
        case Request::reset_owner:  // deprecated: best ignored
            return {};
        case Request::set_mem_table:
            return set_memory(message);
        case Request::set_backend_req_fd:
            back_channel_.emplace(std::move(message.descriptors.front()));
            return {};
        case Request::get_config:
            return give_config(message);
        case Request::set_config:
            return take_config(message);
        case Request::get_inflight_fd:
            return give_inflight(message);
        case Request::set_inflight_fd:
            return take_inflight(message);
        case Request::reset_device:
            reset_device();
            for (const auto& ring : rings_) {
                ring->enabled = false;
                ring->position = {};
            }
            return {};
        case Request::set_vring_kick:
        case Request::set_vring_call:
        case Request::set_vring_err:
            return dispatch_ring_file(message);
        default:
            return dispatch_ring(message);
    }
}

base::Result<BackEnd::Ring*> BackEnd::ring_at(std::uint64_t index) {
    if (index >= rings_.size()) {
        return base::fail("queue {} of {}", index, rings_.size());
    }
    return rings_[index].get();
}

/// All of these begin with the queue's index.
base::Result<void> BackEnd::dispatch_ring(Message& message) {
    const auto state = message.get<VringState>();
    CUPULE_TRY_ASSIGN(Ring * ring, ring_at(state.index));
    switch (static_cast<Request>(message.request)) {
        case Request::set_vring_num:
            return set_number(*ring, state.number);
        case Request::set_vring_addr:
            if (!ring->running) {
                ring->address = message.get<VringAddress>();
            }
            return start_if_ready(*ring);
        case Request::set_vring_base:
            return set_position(*ring, state.number);
        case Request::get_vring_base:
            return give_position(*ring, message);
        case Request::set_vring_enable:
            return set_enabled(*ring, state.number);
        default:
            return base::fail("{} is not served", name_of(message.request));
    }
}

base::Result<void> BackEnd::dispatch_ring_file(Message& message) {
    const auto word = message.get<std::uint64_t>();
    CUPULE_TRY_ASSIGN(Ring * ring, ring_at(word & vring_file::index_mask));
    base::FileDescriptor file;
    if (!message.descriptors.empty()) {
        file = std::move(message.descriptors.front());
        CUPULE_TRY(check_bell(file, name_of(message.request)));
    }
    switch (static_cast<Request>(message.request)) {
        case Request::set_vring_kick:
            if (!file) {
                return base::fail("a ring without a kick descriptor would have to be polled");
            }
            stop_ring(*ring);
            ring->kick = std::move(file);
            return start_if_ready(*ring);
        case Request::set_vring_call:
            if (!file) {
                CUPULE_TRY_ASSIGN(file, base::make_eventfd());
            }
            // The worker knows the number: what it stands for changes under it at once.
            if (ring->call) {
                dup3(file.get(), ring->call.get(), O_CLOEXEC);
            } else {
                ring->call = std::move(file);
            }
            base::signal_eventfd(ring->call.get());  // what was signalled to the one before
            return {};
        default:
            ring->error = std::move(file);
            return {};
    }
}

base::Result<void> BackEnd::set_features(std::uint64_t features) {
    if ((features & ~offered()) != 0) {
        return base::fail("features {:#x} were not offered", features & ~offered());
    }
    if (features_set_ && features == features_) {
        return {};
    }
    stop_device();
    features_ = features;
    features_set_ = true;
    if ((features & has_protocol_features) == 0) {
        for (const auto& ring : rings_) {
            ring->enabled = true;
        }
    }
    return start_rings();
}

std::uint64_t BackEnd::protocol_offered() const {
    return powers_.has_config ? protocol_known : protocol_known & ~protocol_feature::config;
}

base::Result<void> BackEnd::set_protocol_features(std::uint64_t features) {
    if ((features & ~protocol_offered()) != 0) {
        return base::fail("protocol features {:#x} were not offered",
                          features & ~protocol_offered());
    }
    protocol_features_ = features;
    return {};
}

base::Result<void> BackEnd::set_memory(const Message& message) {
    stop_device();
    CUPULE_TRY_ASSIGN(table_, MemoryTable::map(message));
    return start_rings();
}

base::Result<void> BackEnd::give_config(const Message& message) {
    const auto head = message.get<ConfigHead>();
    Message answer{.request = message.request, .flags = flag::version | flag::reply};
    answer.put(head);
    for (std::uint32_t i = 0; i < head.size; ++i) {
        answer.put(static_cast<std::uint8_t>(powers_.device.read_config(head.offset + i, 1)));
    }
    return connection_.send(answer, send_timeout_ms);
}

base::Result<void> BackEnd::take_config(const Message& message) {
    const auto head = message.get<ConfigHead>();
    for (std::uint32_t i = 0; i < head.size; ++i) {
        powers_.device.write_config(head.offset + i, 1,
                                    message.get<std::uint8_t>(sizeof(ConfigHead) + i));
    }
    return {};
}

base::Result<void> BackEnd::give_inflight(const Message& message) {
    const auto wanted = message.get<Inflight>();
    const std::uint16_t entries_max = powers_.device.queues().front().size_max;
    if (wanted.queues == 0 || wanted.queues > rings_.size() || wanted.queue_size == 0 ||
        wanted.queue_size > entries_max) {
        return base::fail(
            "an inflight area for {} queues of {}: 1 to {} queues of 1 to {} are "
            "possible",
            wanted.queues, wanted.queue_size, rings_.size(), entries_max);
    }
    CUPULE_TRY_ASSIGN(auto area, InflightArea::create(wanted.queues, wanted.queue_size));
    Message answer{.request = message.request, .flags = flag::version | flag::reply};
    answer.put(area->description());
    CUPULE_TRY_ASSIGN(auto copy, area->file().duplicate());
    answer.descriptors.push_back(std::move(copy));
    return connection_.send(answer, send_timeout_ms);
}

base::Result<void> BackEnd::take_inflight(Message& message) {
    CUPULE_TRY_ASSIGN(auto area, InflightArea::map(message.get<Inflight>(),
                                                   std::move(message.descriptors.front())));
    stop_device();
    inflight_ = std::move(area);
    for (const auto& ring : rings_) {
        ring->log.reset();
        ring->packed_log.reset();
        ring->recovered = false;
    }
    return start_rings();
}

base::Result<void> BackEnd::set_number(Ring& ring, std::uint32_t number) {
    const std::uint16_t most = powers_.device.queues()[index_of(ring)].size_max;
    if (number == 0 || number > most) {
        return base::fail("queue {} of {} descriptors: 1 to {} are possible", index_of(ring),
                          number, most);
    }
    if (!ring.running) {
        ring.size = static_cast<std::uint16_t>(number);
    }
    return start_if_ready(ring);
}

base::Result<void> BackEnd::set_position(Ring& ring, std::uint32_t number) {
    if (ring.running) {
        return base::fail("SET_VRING_BASE of queue {}, which runs", index_of(ring));
    }
    ring.position = position_of(number, packed());
    return {};
}

base::Result<void> BackEnd::set_enabled(Ring& ring, std::uint32_t number) {
    if (number > 1) {
        return base::fail("SET_VRING_ENABLE of {}", number);
    }
    ring.enabled = number == 1;
    if (!ring.enabled) {
        stop_ring(ring);
    }
    return start_if_ready(ring);
}

base::Result<void> BackEnd::give_position(Ring& ring, const Message& message) {
    stop_ring(ring);
    ring.kick.close();
    return reply(message,
                 VringState{.index = index_of(ring), .number = base_of(ring.position, packed())});
}

}  // namespace cupule::vhost_user
