#include "vhost_user/message.h"

#include <algorithm>
#include <string_view>

#include "base/assert.h"

namespace cupule::vhost_user {
namespace {

constexpr std::uint32_t word_bytes = sizeof(std::uint64_t);

/// What a message may look like.
struct Shape {
    std::uint32_t bytes_min = 0;
    std::uint32_t bytes_max = 0;
    std::size_t descriptors_min = 0;
    std::size_t descriptors_max = 0;
};
constexpr Shape nothing{};
constexpr Shape word{.bytes_min = word_bytes, .bytes_max = word_bytes};
constexpr Shape word_and_file{
    .bytes_min = word_bytes, .bytes_max = word_bytes, .descriptors_min = 0, .descriptors_max = 1};
constexpr Shape vring_state{.bytes_min = sizeof(VringState), .bytes_max = sizeof(VringState)};
constexpr Shape config{.bytes_min = sizeof(ConfigHead), .bytes_max = payload_bytes_max};
constexpr Shape inflight{.bytes_min = inflight_bytes_min, .bytes_max = sizeof(Inflight)};
constexpr Shape inflight_and_file{.bytes_min = inflight_bytes_min,
                                  .bytes_max = sizeof(Inflight),
                                  .descriptors_min = 1,
                                  .descriptors_max = 1};

struct RequestInfo {
    Request id{};
    std::string_view name;
    Shape shape;
    /// Whether there is always a reply, and its shape.
    bool answered = false;
    Shape reply{};
};

constexpr auto requests = std::to_array<RequestInfo>({
    {Request::get_features, "GET_FEATURES", nothing, true, word},
    {Request::set_features, "SET_FEATURES", word},
    {Request::set_owner, "SET_OWNER", nothing},
    {Request::reset_owner, "RESET_OWNER", nothing},
    {Request::set_mem_table,
     "SET_MEM_TABLE",
     {.bytes_min = sizeof(MemoryTableHead) + sizeof(MemoryRegion),
      .bytes_max = sizeof(MemoryTableHead) + regions_max * sizeof(MemoryRegion),
      .descriptors_min = 1,
      .descriptors_max = regions_max}},
    {Request::set_vring_num, "SET_VRING_NUM", vring_state},
    {Request::set_vring_addr,
     "SET_VRING_ADDR",
     {.bytes_min = sizeof(VringAddress), .bytes_max = sizeof(VringAddress)}},
    {Request::set_vring_base, "SET_VRING_BASE", vring_state},
    {Request::get_vring_base, "GET_VRING_BASE", vring_state, true, vring_state},
    {Request::set_vring_kick, "SET_VRING_KICK", word_and_file},
    {Request::set_vring_call, "SET_VRING_CALL", word_and_file},
    {Request::set_vring_err, "SET_VRING_ERR", word_and_file},
    {Request::get_protocol_features, "GET_PROTOCOL_FEATURES", nothing, true, word},
    {Request::set_protocol_features, "SET_PROTOCOL_FEATURES", word},
    {Request::get_queue_num, "GET_QUEUE_NUM", nothing, true, word},
    {Request::set_vring_enable, "SET_VRING_ENABLE", vring_state},
    {Request::set_backend_req_fd,
     "SET_BACKEND_REQ_FD",
     {.bytes_min = 0, .bytes_max = word_bytes, .descriptors_min = 1, .descriptors_max = 1}},
    {Request::get_config,
     "GET_CONFIG",
     config,
     true,
     {.bytes_min = 0, .bytes_max = payload_bytes_max}},
    {Request::set_config, "SET_CONFIG", config},
    {Request::get_inflight_fd,
     "GET_INFLIGHT_FD",
     inflight,
     true,
     {.bytes_min = inflight_bytes_min,
      .bytes_max = sizeof(Inflight),
      .descriptors_min = 0,
      .descriptors_max = 1}},
    {Request::set_inflight_fd, "SET_INFLIGHT_FD", inflight_and_file},
    {Request::reset_device, "RESET_DEVICE", nothing},
});

const RequestInfo* find(std::uint32_t request) {
    const auto* const found = std::ranges::find_if(requests, [request](const RequestInfo& each) {
        return static_cast<std::uint32_t>(each.id) == request;
    });
    return found == requests.end() ? nullptr : found;
}

base::Result<void> check_shape(const Message& message, std::string_view name, const Shape& shape) {
    if (message.size < shape.bytes_min || message.size > shape.bytes_max) {
        return base::fail("{} has {} bytes of payload; {} to {} are right", name, message.size,
                          shape.bytes_min, shape.bytes_max);
    }
    const std::size_t files = message.descriptors.size();
    if (files < shape.descriptors_min || files > shape.descriptors_max) {
        return base::fail("{} has {} file descriptors; {} to {} are right", name, files,
                          shape.descriptors_min, shape.descriptors_max);
    }
    return {};
}

/// Counts in a payload that say how much follows.
base::Result<void> check_counts(const Message& message, Request request) {
    if (request == Request::set_mem_table) {
        const std::size_t count = message.get<MemoryTableHead>().count;
        if (count != message.descriptors.size() ||
            message.size < sizeof(MemoryTableHead) + count * sizeof(MemoryRegion)) {
            return base::fail("SET_MEM_TABLE names {} regions with {} descriptors and {} bytes",
                              count, message.descriptors.size(), message.size);
        }
    }
    const bool about_config = request == Request::get_config || request == Request::set_config;
    if (about_config && message.size != 0) {
        const auto head = message.get<ConfigHead>();
        if (head.size > config_bytes_max || head.offset > config_bytes_max - head.size ||
            message.size != sizeof(ConfigHead) + head.size) {
            return base::fail("{} of {} bytes at {} in {} bytes of payload",
                              name_of(message.request), head.size, head.offset, message.size);
        }
    }
    const bool file_of_ring = request == Request::set_vring_kick ||
                              request == Request::set_vring_call ||
                              request == Request::set_vring_err;
    if (file_of_ring) {
        const bool none = (message.get<std::uint64_t>() & vring_file::no_descriptor) != 0;
        if (none != message.descriptors.empty()) {
            return base::fail("{} has {} descriptors and says otherwise", name_of(message.request),
                              message.descriptors.size());
        }
    }
    return {};
}

base::Result<void> check_version(const Message& message, bool reply) {
    if ((message.flags & flag::version_mask) != flag::version || message.is_reply() != reply) {
        return base::fail("{} has flags {:#x}; version 1 of {} is wanted", name_of(message.request),
                          message.flags, reply ? "a reply" : "a request");
    }
    return {};
}

}  // namespace

void Message::put_bytes(std::span<const std::byte> bytes) {
    CUPULE_ASSERT(bytes.size() <= payload.size() - size);
    std::ranges::copy(bytes, payload.begin() + size);
    size += static_cast<std::uint32_t>(bytes.size());
}

std::string name_of(std::uint32_t request) {
    const RequestInfo* const info = find(request);
    return info != nullptr ? std::string(info->name) : fmt::format("request {}", request);
}

bool has_reply(Request request) {
    const RequestInfo* const info = find(static_cast<std::uint32_t>(request));
    return info != nullptr && info->answered;
}

base::Result<void> check_request(const Message& message, Asker asker) {
    CUPULE_TRY(check_version(message, false));
    if (asker == Asker::back_end) {
        // Others than this one are of use only with features that are not taken here.
        if (message.request != static_cast<std::uint32_t>(BackEndRequest::config_change)) {
            return base::fail("the back end's request {} is not known", message.request);
        }
        return check_shape(message, "CONFIG_CHANGE", {.bytes_min = 0, .bytes_max = word_bytes});
    }
    const RequestInfo* const info = find(message.request);
    if (info == nullptr) {
        return base::fail("request {} is not known", message.request);
    }
    CUPULE_TRY(check_shape(message, info->name, info->shape));
    return check_counts(message, info->id);
}

base::Result<void> check_reply(const Message& message, Request request) {
    CUPULE_TRY(check_version(message, true));
    const RequestInfo* const info = find(static_cast<std::uint32_t>(request));
    if (info == nullptr || message.request != static_cast<std::uint32_t>(request)) {
        return base::fail("the reply to {} says it is to {}",
                          name_of(static_cast<std::uint32_t>(request)), name_of(message.request));
    }
    if (!info->answered) {
        return check_shape(message, info->name, word);
    }
    CUPULE_TRY(check_shape(message, info->name, info->reply));
    return check_counts(message, request);
}

}  // namespace cupule::vhost_user
