#include "guest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/bits.h"
#include "virtio/features.h"
#include "virtio/pci_layout.h"

namespace cupule::testing {
namespace {

using namespace virtio::pci_layout;
namespace feature = virtio::feature;

constexpr auto patience = std::chrono::seconds(20);
constexpr std::uint64_t first_vector = 0x40;
/// Of each of a request's two parts.
constexpr std::uint32_t pieces_max = 3;
/// As many as any oracle has outstanding in one queue.
constexpr std::uint32_t slots_min = 6;

}  // namespace

bool Guest::await(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!done()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        bench_.loop->run_once(0);
        std::this_thread::yield();
    }
    return true;
}

bool Guest::legacy() const {
    return !agreed(feature::version_1);
}

std::uint8_t Guest::status() {
    return legacy() ? static_cast<std::uint8_t>(bench_.read_legacy(legacy::device_status, 1))
                    : bench_.status();
}

void Guest::set_status(std::uint8_t value) {
    if (legacy()) {
        bench_.write_legacy(legacy::device_status, 1, value);
    } else {
        bench_.set_status(value);
    }
}

std::uint8_t Guest::running_status() const {
    using namespace virtio::status;
    return acknowledge | driver | driver_ok | (legacy() ? 0 : features_ok);
}

std::uint64_t Guest::offered() {
    return legacy() ? bench_.read_legacy(legacy::device_features, 4) : bench_.offered();
}

bool Guest::negotiate() {
    if (!legacy()) {
        return bench_.negotiate(agreement_.features);
    }
    using namespace virtio::status;
    set_status(acknowledge);
    set_status(acknowledge | driver);
    bench_.write_legacy(legacy::driver_features, 4, agreement_.features);
    return bench_.read_legacy(legacy::driver_features, 4) == agreement_.features;
}

std::uint64_t Guest::read_config(std::uint64_t offset, unsigned size) {
    if (!legacy()) {
        return bench_.read(device_offset + offset, size);
    }
    const std::uint64_t start = agreement_.messages ? legacy::device_with_msix : legacy::device;
    return bench_.read_legacy(start + offset, size);
}

void Guest::start(const Agreement& agreement) {
    agreement_ = agreement;
    set_status(0);
    bench_.messages.messages.clear();
    line_interrupts_ = 0;
    queues_.clear();
    queues_.resize(agreement.queues);
    ASSERT_EQ(agreement.features & ~offered(), 0U) << "the device does not offer it";
    ASSERT_TRUE(negotiate());
    if (agreement.messages) {
        enable_messages();
    }
    ASSERT_NO_FATAL_FAILURE(lay_out());
    for (std::uint16_t queue = 0; queue < agreement.queues; ++queue) {
        set_up(queue);
    }
    set_status(running_status());
    ASSERT_EQ(status(), running_status());
}

void Guest::lay_out() {
    std::uint64_t at = rings_at;
    for (std::uint16_t queue = 0; queue < agreement_.queues; ++queue) {
        std::uint16_t size = agreement_.ring_size;
        if (legacy()) {
            bench_.write_legacy(legacy::queue_select, 2, queue);
            size = static_cast<std::uint16_t>(bench_.read_legacy(legacy::queue_size, 2));
        }
        VirtioDriver::Options& ring = queues_[queue].ring;
        ring = {.features = agreement_.features,
                .size = size,
                .base = {at},
                .table_entries = 2 * pieces_max,
                .legacy = legacy()};
        at = base::align_up(at + VirtioDriver::bytes_needed(ring), legacy::page);
    }
    ASSERT_LT(at, slots_end);
    slots_at_ = at;
    const std::uint64_t room = (slots_end - at) / slot_bytes / agreement_.queues;
    slots_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(room, slots_max));
    ASSERT_GE(slots_, slots_min);
}

void Guest::set_up(std::uint16_t queue) {
    Queue& one = queues_[queue];
    one.driver = std::make_unique<VirtioDriver>(*bench_.memory, one.ring);
    one.slots.assign(std::min<std::uint32_t>(one.ring.size, slots_), {});
    if (legacy()) {
        set_legacy_queue(queue);
        return;
    }
    if (agreement_.messages) {
        bench_.write(common::queue_select, 2, queue);
        bench_.write(common::queue_msix_vector, 2, queue + 1U);
        ASSERT_EQ(bench_.read(common::queue_msix_vector, 2), queue + 1U);
    }
    bench_.set_queue(queue, one.driver->geometry());
}

void Guest::set_legacy_queue(std::uint16_t queue) {
    bench_.write_legacy(legacy::queue_select, 2, queue);
    if (agreement_.messages) {
        bench_.write_legacy(legacy::queue_msix_vector, 2, queue + 1U);
        ASSERT_EQ(bench_.read_legacy(legacy::queue_msix_vector, 2), queue + 1U);
    }
    const std::uint64_t page = queues_[queue].ring.base.value / legacy::page;
    bench_.write_legacy(legacy::queue_address, 4, page);
    ASSERT_EQ(bench_.read_legacy(legacy::queue_address, 4), page);
}

bool Guest::can_restart() const {
    return legacy() || agreed(feature::ring_reset);
}

void Guest::restart_legacy(std::uint16_t queue) {
    bench_.write_legacy(legacy::queue_select, 2, queue);
    bench_.write_legacy(legacy::queue_address, 4, 0);
    ASSERT_EQ(bench_.read_legacy(legacy::queue_address, 4), 0U);
    set_up(queue);
}

void Guest::restart(std::uint16_t queue) {
    if (legacy()) {
        restart_legacy(queue);
        return;
    }
    bench_.write(common::queue_select, 2, queue);
    bench_.write(common::queue_reset, 2, 1);
    ASSERT_TRUE(await([&] { return bench_.read(common::queue_reset, 2) == 0; }));
    ASSERT_EQ(bench_.read(common::queue_enable, 2), 0U);
    set_up(queue);
    ASSERT_EQ(bench_.read(common::queue_enable, 2), 1U);
}

void Guest::enable_messages() {
    std::uint64_t capability = bench_.read_config(0x34, 1);
    while (capability != 0 && bench_.read_config(capability, 1) != 0x11) {
        capability = bench_.read_config(capability + 1, 1);
    }
    ASSERT_NE(capability, 0U);
    bench_.write_config(capability + 2, 2, 0x8000);
    for (std::uint64_t vector = 0; vector <= agreement_.queues; ++vector) {
        bench_.write_msix(16 * vector, 0xFEE0'0000);
        bench_.write_msix(16 * vector + 4, 0);
        bench_.write_msix(16 * vector + 8, first_vector + vector);
        bench_.write_msix(16 * vector + 12, 0);
    }
}

std::uint64_t Guest::interrupts(std::uint16_t queue) {
    bench_.loop->run_once(0);
    if (agreement_.messages) {
        const std::uint64_t vector = first_vector + queue + 1;
        return static_cast<std::uint64_t>(
            std::ranges::count(bench_.messages.messages, vector, &irq::MsiMessage::data));
    }
    line_interrupts_ += line_interrupted() ? 1U : 0U;
    return line_interrupts_;
}

bool Guest::line_interrupted() {
    const std::uint64_t isr =
        legacy() ? bench_.read_legacy(legacy::isr_status, 1) : bench_.read(isr_offset, 1);
    return isr_queue.of(static_cast<std::uint8_t>(isr));
}

std::vector<std::byte> Guest::random_bytes(std::size_t count) {
    std::vector<std::byte> bytes(count);
    std::ranges::generate(bytes, [this] { return static_cast<std::byte>(random(256)); });
    return bytes;
}

void Guest::cut(std::uint64_t address, std::uint32_t bytes, bool writable,
                std::vector<VirtioDriver::Buffer>& to) {
    for (std::uint32_t pieces = 1 + random(pieces_max); bytes != 0; --pieces) {
        const std::uint32_t length = pieces == 1 ? bytes : 1 + random(bytes);
        to.push_back({.address = {address}, .length = length, .writable = writable});
        address += length;
        bytes -= length;
    }
}

std::optional<std::uint64_t> Guest::ask(std::uint16_t queue, std::span<const std::byte> out,
                                        std::uint32_t in_bytes) {
    Queue& one = queues_[queue];
    const auto slot = std::ranges::find(one.slots, false, &Request::pending);
    if (slot == one.slots.end()) {
        return std::nullopt;
    }
    const auto token = static_cast<std::uint64_t>(slot - one.slots.begin());
    const std::uint64_t at = slots_at_ + (queue * slots_ + token) * slot_bytes;
    EXPECT_LE(out.size() + in_bytes, slot_bytes);
    EXPECT_TRUE(bench_.memory->write({at}, out));
    std::vector<VirtioDriver::Buffer> buffers;
    cut(at, static_cast<std::uint32_t>(out.size()), false, buffers);
    const std::uint64_t answer_at = at + out.size();
    cut(answer_at, in_bytes, true, buffers);
    const auto shape = agreed(feature::indirect_desc) ? static_cast<VirtioDriver::Shape>(random(3))
                                                      : VirtioDriver::Shape::direct;
    if (!one.driver->submit(buffers, token, shape)) {
        return std::nullopt;
    }
    *slot = {.answer_at = answer_at, .in_bytes = in_bytes, .pending = true};
    return token;
}

bool Guest::ask_with(std::uint16_t queue, std::span<const VirtioDriver::Buffer> buffers) {
    return queues_[queue].driver->submit(buffers, slots_max);
}

void Guest::kick(std::uint16_t queue) {
    const VirtioDriver& driver = *queues_[queue].driver;
    if (!queues_[queue].driver->publish()) {
        return;
    }
    if (legacy()) {
        bench_.write_legacy(legacy::queue_notify, 2, queue);
        return;
    }
    bench_.write(common::queue_select, 2, queue);
    const std::uint64_t doorbell =
        notify_offset + notify_multiplier * bench_.read(common::queue_notify_off, 2);
    const auto name = agreed(feature::notif_config_data)
                          ? bench_.read(common::queue_notif_config_data, 2)
                          : std::uint64_t{queue};
    if (agreed(feature::notification_data)) {
        bench_.write(doorbell, 4, driver.notification(static_cast<std::uint16_t>(name)));
    } else {
        bench_.write(doorbell, 2, name);
    }
}

std::optional<VirtioDriver::Used> Guest::look(std::uint16_t queue) {
    auto used = queues_[queue].driver->collect();
    EXPECT_EQ(queues_[queue].driver->violation(), "");
    return used;
}

Guest::Answer Guest::wait(std::uint16_t queue) {
    Queue& one = queues_[queue];
    std::optional<VirtioDriver::Used> used;
    bool slept_in_vain = false;
    if (random(2) == 0) {
        one.driver->disable_interrupts();
        EXPECT_TRUE(await([&] {
            used = look(queue);
            return used.has_value();
        })) << "queue "
            << queue << " is silent";
    }
    while (!used && !slept_in_vain) {
        const std::uint64_t seen = interrupts(queue);
        if (!one.driver->enable_interrupts()) {
            slept_in_vain = !await([&] { return interrupts(queue) != seen; });
            EXPECT_FALSE(slept_in_vain) << "queue " << queue << " lets its driver sleep";
        }
        used = look(queue);
    }
    return used ? finish(queue, *used) : Answer{};
}

std::optional<Guest::Answer> Guest::look_for_answer(std::uint16_t queue) {
    const auto used = look(queue);
    return used ? std::optional(finish(queue, *used)) : std::nullopt;
}

Guest::Answer Guest::finish(std::uint16_t queue, const VirtioDriver::Used& used) {
    Answer answer;
    if (used.token == slots_max) {
        return answer;
    }
    Request& request = queues_[queue].slots[used.token];
    EXPECT_LE(used.written, request.in_bytes);
    answer.token = used.token;
    answer.bytes.resize(std::min(used.written, request.in_bytes));
    EXPECT_TRUE(bench_.memory->read({request.answer_at}, answer.bytes));
    request.pending = false;
    return answer;
}

std::vector<std::byte> Guest::request(std::uint16_t queue, std::span<const std::byte> out,
                                      std::uint32_t in_bytes) {
    EXPECT_TRUE(ask(queue, out, in_bytes));
    kick(queue);
    return wait(queue).bytes;
}

}  // namespace cupule::testing
