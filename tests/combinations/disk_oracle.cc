#include <gtest/gtest.h>

#include <map>

#include "device/storage/virtio_blk.h"
#include "device/storage/virtio_blk_protocol.h"
#include "oracle.h"
#include "testing/memory_disk.h"

namespace cupule::testing {
namespace {

using namespace device::virtio_blk;

/// Requests on all queues at once, each in sectors of its own; what they read is compared with a
/// model of the disk.
class DiskOracle : public Oracle {
  public:
    std::unique_ptr<virtio::Device> make(unsigned units, VirtioPciBench& /*bench*/) override {
        disk_ = std::make_unique<MemoryDisk>(disk_bytes);
        model_.assign(disk_->size(), std::byte{0});
        const device::VirtioBlkSpec spec{.discard = true,
                                         .queues = static_cast<std::uint16_t>(units)};
        return std::make_unique<device::VirtioBlk>(
            spec, disk_.get(),
            std::span(workers_).first(std::min<std::size_t>(units, workers_.size())));
    }

    std::vector<Meeting> meetings() const override {
        const std::uint64_t all = feature::seg_max | feature::blk_size | feature::flush |
                                  feature::topology | feature::config_wce | feature::discard |
                                  feature::write_zeroes;
        return {{.units = 1, .features = 0, .queues = 1},
                {.units = 1, .features = feature::flush, .queues = 1},
                {.units = 1, .features = all, .queues = 1},
                {.units = 2, .features = all | feature::mq, .queues = 2},
                {.units = 2, .features = feature::mq | feature::config_wce, .queues = 2},
                {.units = queues_max, .features = all | feature::mq, .queues = queues_max}};
    }

    void introduce(Guest& guest, const Meeting& meeting) override {
        EXPECT_EQ(guest.read_config(config::capacity, 4), disk_bytes / sector_bytes);
        if (guest.agreed(feature::mq)) {
            EXPECT_EQ(guest.read_config(config::num_queues, 2), meeting.units);
        }
    }

    void exchange(Guest& guest, const Meeting& meeting) override {
        for (int round = 0; round < (meeting.units > workers_max ? 1 : rounds); ++round) {
            std::vector<std::map<std::uint64_t, Wanted>> wanted(meeting.queues);
            for (std::uint16_t queue = 0; queue < meeting.queues; ++queue) {
                for (unsigned place = 0; place < places; ++place) {
                    submit(guest, queue, queue * places + place, wanted[queue]);
                }
                guest.kick(queue);
            }
            for (std::uint16_t queue = 0; queue < meeting.queues; ++queue) {
                while (guest.outstanding(queue) != 0 && !::testing::Test::HasFailure()) {
                    const Guest::Answer answer = guest.wait(queue);
                    EXPECT_EQ(answer.bytes, wanted[queue][answer.token]);
                }
            }
        }
    }

  private:
    using Wanted = std::vector<std::byte>;
    static constexpr int rounds = 4;
    /// What users may ask for.
    static constexpr std::uint16_t queues_max = 64;
    static constexpr std::size_t workers_max = 2;
    static constexpr unsigned places = 6;
    static constexpr std::uint64_t place_sectors = 8;
    static constexpr std::size_t disk_bytes = 2 << 20;
    static_assert(queues_max * places * place_sectors * sector_bytes <= disk_bytes);

    /// One request of a random kind on the sectors of `place`.
    void submit(Guest& guest, std::uint16_t queue, std::uint64_t place,
                std::map<std::uint64_t, Wanted>& wanted) {
        const std::uint64_t sector = place * place_sectors;
        const auto sectors = 1 + guest.random(place_sectors);
        const auto area = std::span(model_).subspan(sector * sector_bytes, sectors * sector_bytes);
        request::Header header{.type = request::in, .reserved = 0, .sector = sector};
        std::vector<std::byte> data;
        std::vector<std::byte> answer;
        switch (guest.random(6)) {
            case 0:
            case 1:
                header.type = request::out;
                data = guest.random_bytes(area.size());
                break;
            case 2:
                header.type = request::get_id;
                header.sector = 0;
                answer.resize(request::id_bytes);
                break;
            case 3:
                if (guest.agreed(feature::flush)) {
                    header = {.type = request::flush, .reserved = 0, .sector = 0};
                    break;
                }
                [[fallthrough]];
            case 4:
                if (guest.agreed(feature::write_zeroes)) {
                    header = {.type = request::write_zeroes, .reserved = 0, .sector = 0};
                    const request::Segment segment{
                        .sector = sector, .sectors = sectors, .flags = 0};
                    append(data, bytes_of(segment));
                    break;
                }
                [[fallthrough]];
            default:
                answer.assign(area.begin(), area.end());
        }
        answer.push_back(std::byte{outcome::ok});
        std::vector<std::byte> out;
        append(out, bytes_of(header));
        append(out, data);
        const auto token = guest.ask(queue, out, static_cast<std::uint32_t>(answer.size()));
        if (!token) {
            return;  // the ring is full: the place keeps what it has
        }
        if (header.type == request::out) {
            std::ranges::copy(data, area.begin());
        } else if (header.type == request::write_zeroes) {
            std::ranges::fill(area, std::byte{0});
        }
        wanted[*token] = std::move(answer);
    }

    std::unique_ptr<event::Worker> first_ = *event::Worker::create("disk0");
    std::unique_ptr<event::Worker> second_ = *event::Worker::create("disk1");
    std::array<event::Worker*, workers_max> workers_{first_.get(), second_.get()};
    std::unique_ptr<MemoryDisk> disk_;
    std::vector<std::byte> model_;
};

}  // namespace

std::unique_ptr<Oracle> make_disk_oracle() {
    return std::make_unique<DiskOracle>();
}

}  // namespace cupule::testing
