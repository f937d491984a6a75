// Any bytes as vhost-user messages: to our back end, which has a disk, from a front end that means
// harm and whose driver writes requests and anything else into the RAM they share; then to our
// front end as a back end's answers (fuzz_vhost_front_end.cc has the device on it). After each
// input a well-behaved front end must be served: one good request must get through.

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "checked_store.h"
#include "device/storage/virtio_blk.h"
#include "event/worker.h"
#include "input.h"
#include "testing/virtio_driver.h"
#include "vhost_user/back_end.h"
#include "vhost_user/front_end.h"
#include "virtio/features.h"

namespace {

using namespace cupule;
using fuzz::Input;
using testing::VirtioDriver;
using vhost_user::Connection;
using vhost_user::Message;
using vhost_user::Request;

constexpr std::uint64_t spare_bytes = 64 << 10;
constexpr std::uint64_t ram_bytes = 1 << 20;
constexpr std::uint64_t user_base = 0x7000'0000'0000;
constexpr std::uint64_t rings_at = 0x1'0000;
constexpr std::uint64_t ring_stride = 0x1'0000;
constexpr std::uint64_t header_at = 0x8'0000;
constexpr std::uint64_t status_at = 0x8'1000;
constexpr std::uint64_t data_at = 0x9'0000;
constexpr std::uint16_t ring_size = 16;
constexpr std::uint16_t queues = 2;

base::FileDescriptor make_file(std::uint64_t bytes = spare_bytes) {
    base::FileDescriptor file(memfd_create("ram", MFD_CLOEXEC));
    CUPULE_ASSERT(ftruncate(file.get(), static_cast<off_t>(bytes)) == 0);
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
            input.take<std::uint8_t>() % 2 == 0 ? make_file() : std::move(*base::make_eventfd()));
    }
    return message;
}

Message with_file(Request request, std::uint64_t word, base::FileDescriptor file) {
    Message message = make_message(request, word);
    message.descriptors.push_back(std::move(file));
    return message;
}

/// The value itself where `altered` is not set; then what the input makes of it.
template <class T>
T alter(Input& input, bool altered, T value) {
    return altered ? static_cast<T>(value ^ input.take<T>()) : value;
}

/// A front end over a socket, and the driver of its two rings. What it says is sound where the
/// input's bytes are zeros.
class Machine {
  public:
    void serve(Input& input) {
        connect();
        while (!input.empty() && !ended_) {
            step(input);
        }
        connect();
        one_good_request();
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
    struct Ring {
        base::FileDescriptor kick{};
        std::unique_ptr<VirtioDriver> driver{};
    };

    void connect() {
        auto [theirs, ours] = make_sockets();
        event::MutexLock lock(monitor_);
        back_end_.reset();
        ended_ = false;
        back_end_ = std::move(*vhost_user::BackEnd::create(
            {.device = device_, .loop = *loop_, .monitor = monitor_, .queues = queues},
            std::move(theirs), [this] { ended_ = true; }));
        peer_.emplace(std::move(ours));
        back_channel_.close();
        rings_ = {};
        spare_ = make_file(ram_bytes);
        inflight_ = {};
        inflight_file_.close();
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
    void say(const Message& message) {
        if (!ended_ && peer_->send(message, 0)) {
            turn();
        }
    }
    /// The same, and what the back end answers where that is a word or more.
    std::optional<Message> ask_for(const Message& message) {
        drain();
        say(message);
        return ended_ ? std::nullopt : peer_->receive().value_or(std::nullopt);
    }

    void step(Input& input) {
        const auto choice = input.take<std::uint8_t>();
        const auto detail = static_cast<std::uint8_t>(choice / 16);
        switch (choice % 16) {
            case 0:
                say(take_message(input, detail));
                break;
            case 1:
                say_features(input);
                break;
            case 2:
                say_memory(input);
                break;
            case 3:
                start_ring(detail % queues, input);
                break;
            case 4:
                say_of_ring(detail % queues, input);
                break;
            case 5:
                write_memory(rings_at, input);
                break;
            case 6:
                write_memory(header_at, input);
                break;
            case 7:
                submit(detail % queues, input);
                break;
            case 8:
                ask_for_inflight(detail, input);
                break;
            case 9:
                write_inflight(detail % queues, input);
                break;
            case 10:
                say_inflight(detail, input);
                break;
            case 11:
                say_config(detail, input);
                break;
            case 12:
                kick(detail % queues);
                break;
            case 13:
                cut_short(detail, input);
                break;
            case 14:
                change_disk(detail);
                break;
            default:
                say(make_message(detail % 2 == 0 ? Request::reset_device : Request::reset_owner));
                break;
        }
        drain();
    }

    void say_features(Input& input) {
        namespace feature = virtio::feature;
        const auto choice = input.take<std::uint8_t>();
        constexpr std::array bits{feature::ring_packed,   feature::event_idx,
                                  feature::indirect_desc, feature::in_order,
                                  feature::ring_reset,    vhost_user::has_protocol_features};
        features_ = feature::version_1 | base::bit(9) | base::bit(11) | base::bit(12);
        for (std::size_t i = 0; i < bits.size(); ++i) {
            features_ |= (choice & 1U << i) != 0 ? bits[i] : 0;
        }
        features_ = alter(input, (choice & 0x80) != 0, features_);
        say(make_message(Request::set_features, features_));
        if ((choice & 0x40) != 0) {
            const auto offered = ask_for(make_message(Request::get_protocol_features));
            say(make_message(Request::set_protocol_features,
                             offered ? offered->get<std::uint64_t>() : 0));
            auto [theirs, ours] = make_sockets();
            back_channel_ = std::move(ours);
            Message message = make_message(Request::set_backend_req_fd);
            message.descriptors.push_back(std::move(theirs));
            say(message);
        }
    }

    /// RAM in one piece or several, which may differ from what is sound in each field.
    void say_memory(Input& input) {
        const auto choice = input.take<std::uint8_t>();
        const std::uint32_t count = 1U << (choice & 3U);
        const std::uint64_t each = ram_bytes / count;
        Message message = make_message(
            Request::set_mem_table,
            vhost_user::MemoryTableHead{.count = alter(input, (choice & 4) != 0, count)});
        for (std::uint32_t i = 0; i < count; ++i) {
            const bool altered = (choice & 8) != 0 && i + 1 == count;
            const std::uint64_t at = each * i;
            message.put(
                vhost_user::MemoryRegion{.guest_address = alter(input, altered, at),
                                         .size = alter(input, altered, each),
                                         .user_address = alter(input, altered, user_base + at),
                                         .file_offset = alter(input, altered, at)});
            base::FileDescriptor file((choice & 16) != 0 ? dup(spare_.get()) : dup(ram_->file()));
            message.descriptors.push_back(std::move(file));
        }
        say(message);
    }

    void start_ring(std::uint16_t index, Input& input) {
        const auto choice = input.take<std::uint8_t>();
        const auto has = [choice](unsigned bit) { return (choice & 1U << bit) != 0; };
        const std::uint64_t base_address = rings_at + index * ring_stride;
        Ring& ring = rings_[index];
        ring.driver = std::make_unique<VirtioDriver>(
            *ram_, VirtioDriver::Options{
                       .features = features_, .size = ring_size, .base = {base_address}});
        const virtio::QueueGeometry& at = ring.driver->geometry();
        const auto size = alter(input, has(0), std::uint16_t{ring_size});
        const bool packed = (features_ & virtio::feature::ring_packed) != 0;
        const auto base = alter(input, has(1), packed ? 0x8000'8000U : 0U);
        say(make_message(Request::set_vring_num,
                         vhost_user::VringState{.index = index, .number = size}));
        say(make_message(Request::set_vring_base,
                         vhost_user::VringState{.index = index, .number = base}));
        const auto place = [&](memory::GuestAddress area) {
            return user_base + (area.value ^ (has(2) ? input.take<std::uint32_t>() : 0U));
        };
        say(make_message(Request::set_vring_addr,
                         vhost_user::VringAddress{.index = index,
                                                  .flags = 0,
                                                  .descriptors = place(at.descriptor_area),
                                                  .used = place(at.device_area),
                                                  .available = place(at.driver_area),
                                                  .log = 0}));
        if (!has(3)) {
            say(with_file(Request::set_vring_call, index, std::move(*base::make_eventfd())));
        }
        if (has(4)) {
            say(with_file(Request::set_vring_err, index, std::move(*base::make_eventfd())));
        }
        ring.kick = has(5) ? make_file() : std::move(*base::make_eventfd());
        say(with_file(Request::set_vring_kick, index, std::move(*ring.kick.duplicate())));
        if ((features_ & vhost_user::has_protocol_features) != 0) {
            say(make_message(Request::set_vring_enable,
                             vhost_user::VringState{.index = index, .number = has(6) ? 0U : 1U}));
        }
    }

    /// One message about a ring, which may run.
    void say_of_ring(std::uint16_t index, Input& input) {
        const auto choice = input.take<std::uint8_t>();
        const auto number = input.take<std::uint16_t>();
        constexpr std::array requests{Request::set_vring_num, Request::set_vring_base,
                                      Request::get_vring_base, Request::set_vring_enable};
        const vhost_user::VringState state{.index = index, .number = number};
        const auto word =
            index | ((choice & 0x80) != 0 ? vhost_user::vring_file::no_descriptor : 0);
        switch (choice % 8) {
            case 4:
                rings_[index].kick = std::move(*base::make_eventfd());
                return say(with_file(Request::set_vring_kick, index,
                                     std::move(*rings_[index].kick.duplicate())));
            case 5:
            case 6: {
                Message message = make_message(
                    choice % 8 == 5 ? Request::set_vring_call : Request::set_vring_err, word);
                if ((choice & 0x40) == 0) {
                    message.descriptors.push_back(std::move(*base::make_eventfd()));
                }
                return say(message);
            }
            case 7:
                return say(make_message(
                    Request::set_vring_addr,
                    vhost_user::VringAddress{.index = index,
                                             .descriptors = user_base + rings_at + number,
                                             .used = user_base + rings_at + number,
                                             .available = user_base + rings_at + number}));
            default:
                return say(make_message(requests[choice % 4U], state));
        }
    }

    /// Into RAM and the file that may be cut short.
    void write_memory(std::uint64_t base_address, Input& input) {
        const std::uint64_t at = base_address + input.take<std::uint16_t>();
        const auto bytes = input.bytes(input.take<std::uint8_t>() % 65);
        static_cast<void>(ram_->write({at}, bytes));
        CUPULE_ASSERT(pwrite(spare_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at)) >=
                      0);
    }
    void put_header(std::uint32_t type, std::uint64_t sector) const {
        CUPULE_ASSERT(ram_->store<std::uint64_t>({header_at}, type));
        CUPULE_ASSERT(ram_->store<std::uint64_t>({header_at + 8}, sector));
        CUPULE_ASSERT(ram_->store<std::uint8_t>({status_at}, 0xFF));
    }
    void submit_buffers(Ring& ring, std::uint32_t bytes, bool to_guest,
                        VirtioDriver::Shape shape) const {
        const std::array<VirtioDriver::Buffer, 3> buffers{
            {{.address = {header_at}, .length = 16},
             {.address = {data_at}, .length = std::max(bytes, 1U), .writable = to_guest},
             {.address = {status_at}, .length = 1, .writable = true}}};
        static_cast<void>(ring.driver->submit(buffers, 1, shape));
        ring.driver->publish();
        base::signal_eventfd(ring.kick.get());
    }
    void submit(std::uint16_t index, Input& input) {
        Ring& ring = rings_[index];
        const auto type = input.take<std::uint8_t>();
        const auto sector = input.take<std::uint8_t>();
        const auto pages = input.take<std::uint8_t>();
        if (ring.driver == nullptr) {
            return;
        }
        put_header(type % 16, sector);
        const bool tables = (features_ & virtio::feature::indirect_desc) != 0 && (type & 16) != 0;
        submit_buffers(ring, (pages & 0x7FU) * 256U, (pages & 0x80) != 0,
                       tables ? VirtioDriver::Shape::indirect : VirtioDriver::Shape::direct);
        kick(index);
    }
    void kick(std::uint16_t index) {
        Ring& ring = rings_[index];
        base::signal_eventfd(ring.kick.get());
        // Once to wake up, once to have served.
        worker_->call([] {});
        worker_->call([] {});
        turn();
        while (ring.driver != nullptr && ring.driver->violation().empty() &&
               ring.driver->collect()) {
        }
    }

    void ask_for_inflight(std::uint8_t detail, Input& input) {
        const vhost_user::Inflight wanted{
            .queues = alter(input, (detail & 1) != 0, queues),
            .queue_size = alter(input, (detail & 2) != 0, std::uint16_t{ring_size})};
        auto answer = ask_for(make_message(Request::get_inflight_fd, wanted));
        if (answer && !answer->descriptors.empty()) {
            inflight_ = answer->get<vhost_user::Inflight>();
            inflight_file_ = std::move(answer->descriptors.front());
        }
    }
    /// Into a queue's record, whose layout is that of the features.
    void write_inflight(std::uint16_t index, Input& input) {
        const bool packed = (features_ & virtio::feature::ring_packed) != 0;
        const std::uint64_t part = packed
                                       ? vhost_user::PackedInflight::bytes_for(inflight_.queue_size)
                                       : vhost_user::SplitInflight::bytes_for(inflight_.queue_size);
        const std::uint64_t at = index * part + input.take<std::uint8_t>() * std::uint64_t{2};
        const auto bytes = input.bytes(input.take<std::uint8_t>() % 33);
        if (inflight_file_ && at + bytes.size() <= inflight_.size) {
            CUPULE_ASSERT(pwrite(inflight_file_.get(), bytes.data(), bytes.size(),
                                 static_cast<off_t>(at)) >= 0);
        }
    }
    void say_inflight(std::uint8_t detail, Input& input) {
        Message message =
            make_message(Request::set_inflight_fd,
                         vhost_user::Inflight{
                             .size = alter(input, (detail & 1) != 0, inflight_.size),
                             .offset = alter(input, (detail & 2) != 0, inflight_.offset),
                             .queues = alter(input, (detail & 4) != 0, inflight_.queues),
                             .queue_size = alter(input, (detail & 8) != 0, inflight_.queue_size)});
        if (inflight_file_) {
            message.descriptors.push_back(std::move(*inflight_file_.duplicate()));
        }
        say(message);
    }

    void say_config(std::uint8_t detail, Input& input) {
        const vhost_user::ConfigHead head{.offset = input.take<std::uint8_t>(),
                                          .size = input.take<std::uint8_t>()};
        Message message =
            make_message(detail % 2 == 0 ? Request::get_config : Request::set_config, head);
        for (std::uint32_t i = 0; i < head.size; ++i) {
            message.put(input.take<std::uint8_t>());
        }
        say(message);
    }
    void cut_short(std::uint8_t detail, Input& input) {
        const int file = detail % 2 == 0 ? spare_.get() : inflight_file_.get();
        static_cast<void>(ftruncate(file, input.take<std::uint8_t>() * off_t{4096}));
    }
    /// News of the configuration.
    void change_disk(std::uint8_t detail) {
        {
            event::MutexLock lock(monitor_);
            device_.replace_store(detail % 2 == 0 ? nullptr : &store_);
        }
        turn();
    }

    void one_good_request() {
        change_disk(1);
        features_ = virtio::feature::version_1;
        const std::uint8_t zero = 0;
        Input nothing(&zero, 0);
        say(make_message(Request::set_features, features_));
        say_memory(nothing);
        start_ring(0, nothing);
        put_header(0, 1);
        submit_buffers(rings_[0], 512, true, VirtioDriver::Shape::direct);
        for (int i = 0; i < 1000; ++i) {
            worker_->call([] {});
            if (rings_[0].driver->collect()) {
                CUPULE_ASSERT(ram_->load<std::uint8_t>({status_at}) == 0);
                return;
            }
        }
        CUPULE_ASSERT(false);
    }

    std::unique_ptr<memory::GuestMemory> ram_ = *memory::GuestMemory::create(
        {.pieces = {{{0}, ram_bytes}}, .huge_pages = memory::HugePages::never, .shared = true});
    base::FileDescriptor spare_;
    std::unique_ptr<event::Worker> worker_ = *event::Worker::create("fuzz");
    std::array<event::Worker*, 1> workers_{worker_.get()};
    fuzz::CheckedStore store_;
    device::VirtioBlk device_{
        {.discard = true, .serial = "fuzz", .queues = queues}, &store_, workers_};
    std::unique_ptr<event::EventLoop> loop_ = *event::EventLoop::create();
    event::Monitor monitor_;
    std::unique_ptr<vhost_user::BackEnd> back_end_;
    std::optional<Connection> peer_;
    base::FileDescriptor back_channel_;
    bool ended_ = false;
    std::uint64_t features_ = virtio::feature::version_1;
    std::array<Ring, queues> rings_;
    vhost_user::Inflight inflight_{};
    base::FileDescriptor inflight_file_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    base::set_log_level(base::LogLevel::error);
    static Machine machine;
    Input input(data, size);
    if (input.take<std::uint8_t>() % 4 != 3) {
        machine.serve(input);
    } else {
        Machine::ask(input);
    }
    return 0;
}
