#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <vector>

#include "backend/block_store.h"
#include "device/storage/virtio_blk.h"
#include "driven_device.h"
#include "event/worker.h"

namespace cupule::device {
namespace {

using backend::BlockAio;
using testing::FaultPlan;
using testing::good;

constexpr std::uint64_t disk_bytes = 256 << 10;
constexpr std::uint64_t header_at = 3 << 20;
constexpr std::uint64_t data_at = 4 << 20;
constexpr std::uint64_t status_at = header_at + 0x1000;
constexpr std::uint32_t type_read = 0;
constexpr std::uint32_t type_write = 1;
constexpr std::uint32_t type_flush = 4;
constexpr std::uint32_t type_discard = 11;
constexpr std::uint32_t type_write_zeroes = 13;
constexpr std::uint8_t ok = 0;
constexpr std::uint64_t features = base::bit(9) | base::bit(13) | base::bit(14);

/// How the image is opened and served.
struct Mode {
    const char* name;
    BlockAio aio = BlockAio::automatic;
    bool write_through = false;
    bool direct = false;
    bool pinned = false;
};

/// A disk whose writes last by themselves offers no flush.
std::uint64_t features_of(const Mode& mode) {
    return mode.write_through ? features & ~base::bit(9) : features;
}

/// What has to be on the disk: a byte that no answer has promised anything about is none.
using Model = std::vector<std::optional<std::byte>>;

/// One disk, from the opening of its image to its end, with a request of each kind.
class DiskRun {
  public:
    DiskRun(std::string path, const Mode& mode) : path_(std::move(path)), mode_(mode) {
        std::ofstream(path_, std::ios::binary) << std::string(disk_bytes, 'a');
        model_.assign(disk_bytes, std::byte{'a'});
    }

    void run(const FaultPlan& plan) {
        testing::start_host_faults(plan);
        if (!open()) {
            return;
        }
        if (device_.start(features_of(mode_))) {
            requests();
        }
        // The host is well again: so is the disk, after a reset at the latest.
        testing::stop_host_faults();
        if (device_.asks_for_reset()) {
            ASSERT_TRUE(device_.start(features_of(mode_)));
        }
        EXPECT_EQ(write(9, 2, std::byte{'z'}), ok);
        EXPECT_EQ(read(0, disk_bytes / 512), ok);
        EXPECT_EQ(plain(type_flush), ok);
        device_.bench().set_status(0);
        check_image();
    }

  private:
    bool open() {
        auto worker = event::Worker::create("test");
        if (!good(worker)) {
            return false;
        }
        worker_ = std::move(*worker);
        auto store = backend::FileBlockStore::open({.path = path_,
                                                    .write_through = mode_.write_through,
                                                    .direct = mode_.direct,
                                                    .discard = true,
                                                    .aio = mode_.aio,
                                                    .pinned = mode_.pinned},
                                                   device_.bench().memory.get());
        if (!good(store)) {
            return false;
        }
        store_ = std::move(*store);
        workers_ = {worker_.get()};
        auto device = std::make_unique<VirtioBlk>(
            VirtioBlkSpec{.write_through = mode_.write_through, .discard = true}, store_.get(),
            workers_);
        return good(device_.bench().try_to_plug_in(std::move(device)));
    }

    void requests() {
        for (int round = 0; round < 2; ++round) {
            write(1, 8, std::byte{'b'});
            write(32, 64, std::byte{'c'});
            plain(type_flush);
            read(0, 128);
            erase(type_write_zeroes, 40, 8);
            erase(type_discard, 64, 8);
            read(36, 40);
        }
    }

    /// The status, or nothing when the device asked for a reset.
    std::optional<std::uint8_t> ask(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes,
                                    bool to_guest) {
        memory::GuestMemory& memory = *device_.bench().memory;
        EXPECT_TRUE(memory.store<std::uint32_t>({header_at}, type));
        EXPECT_TRUE(memory.store<std::uint64_t>({header_at + 8}, sector));
        EXPECT_TRUE(memory.store<std::uint8_t>({status_at}, 0xEE));
        std::vector<testing::VirtioDriver::Buffer> buffers{{{header_at}, 16, false}};
        // In two pieces, so that a short transfer can end between them and inside one; what is
        // pinned moves in one.
        if (bytes > 1024 && !mode_.pinned) {
            buffers.push_back({{data_at}, 1024, to_guest});
            buffers.push_back({{data_at + 1024}, bytes - 1024, to_guest});
        } else if (bytes != 0) {
            buffers.push_back({{data_at}, bytes, to_guest});
        }
        buffers.push_back({{status_at}, 1, true});
        if (device_.asks_for_reset() || !device_.submit(0, buffers) || !device_.answer(0)) {
            return std::nullopt;
        }
        return memory.load<std::uint8_t>({status_at});
    }

    void promise(std::uint64_t sector, std::uint64_t sectors, std::optional<std::byte> byte) {
        std::fill_n(model_.begin() + static_cast<std::ptrdiff_t>(512 * sector), 512 * sectors,
                    byte);
    }

    std::optional<std::uint8_t> plain(std::uint32_t type) { return ask(type, 0, 0, false); }

    std::optional<std::uint8_t> write(std::uint64_t sector, std::uint32_t sectors, std::byte byte) {
        const std::vector<std::byte> data(512 * sectors, byte);
        EXPECT_TRUE(device_.bench().memory->write({data_at}, data));
        const auto status = ask(type_write, sector, 512 * sectors, false);
        promise(sector, sectors, status == ok ? std::optional(byte) : std::nullopt);
        return status;
    }

    std::optional<std::uint8_t> read(std::uint64_t sector, std::uint32_t sectors) {
        std::vector<std::byte> data(512 * sectors, std::byte{0xEE});
        EXPECT_TRUE(device_.bench().memory->write({data_at}, data));
        const auto status = ask(type_read, sector, 512 * sectors, true);
        if (status == ok) {
            EXPECT_TRUE(device_.bench().memory->read({data_at}, data));
            compare(std::span(model_).subspan(512 * sector, data.size()), data);
        }
        return status;
    }

    void erase(std::uint32_t type, std::uint64_t sector, std::uint32_t sectors) {
        memory::GuestMemory& memory = *device_.bench().memory;
        EXPECT_TRUE(memory.store<std::uint64_t>({data_at}, sector));
        EXPECT_TRUE(memory.store<std::uint32_t>({data_at + 8}, sectors));
        EXPECT_TRUE(memory.store<std::uint32_t>({data_at + 12}, 0));
        const auto status = ask(type, 0, 16, false);
        const bool zero = status == ok && type == type_write_zeroes;
        promise(sector, sectors, zero ? std::optional(std::byte{0}) : std::nullopt);
    }

    static void compare(std::span<const std::optional<std::byte>> expected,
                        std::span<const std::byte> there) {
        for (std::size_t i = 0; i < there.size(); ++i) {
            if (expected[i] && *expected[i] != there[i]) {
                ADD_FAILURE() << "wrong byte at " << i << " of " << there.size();
                return;
            }
        }
    }

    void check_image() const {
        std::ifstream file(path_, std::ios::binary);
        const std::string bytes((std::istreambuf_iterator<char>(file)), {});
        ASSERT_EQ(bytes.size(), disk_bytes);
        compare(model_, std::as_bytes(std::span(bytes)));
    }

    const std::string path_;
    const Mode mode_;
    Model model_;
    std::unique_ptr<event::Worker> worker_;
    std::vector<event::Worker*> workers_;
    std::unique_ptr<backend::BlockStore> store_;
    testing::DrivenDevice device_;
};

class BlkFaultsTest : public ::testing::TestWithParam<Mode> {
  protected:
    BlkFaultsTest() {
        const int fd = mkstemp(path_.data());
        EXPECT_GE(fd, 0);
        close(fd);
    }
    ~BlkFaultsTest() override { unlink(path_.c_str()); }
    std::string path_ = ::testing::TempDir() + "/disk_XXXXXX";
};

TEST_P(BlkFaultsTest, EveryHostCallMayFailAndNothingAcknowledgedIsLost) {
    std::ofstream(path_) << std::string(disk_bytes, 'a');
    if (const auto store =
            backend::FileBlockStore::open({.path = path_, .direct = GetParam().direct});
        !store && GetParam().direct) {
        GTEST_SKIP() << store.error().message;
    }
    const unsigned met = testing::walk_host_faults(
        500, [this](const FaultPlan& plan) { DiskRun(path_, GetParam()).run(plan); });
    // Opening alone is ten calls, each of 14 requests one or more.
    EXPECT_GT(met, 60U);
}

INSTANTIATE_TEST_SUITE_P(
    , BlkFaultsTest,
    ::testing::Values(
        Mode{.name = "IoUring", .aio = BlockAio::io_uring},
        Mode{.name = "IoUringPinned", .aio = BlockAio::io_uring, .pinned = true},
        Mode{.name = "Threads", .aio = BlockAio::threads},
        Mode{.name = "IoUringWritethru", .aio = BlockAio::io_uring, .write_through = true},
        Mode{.name = "ThreadsWritethru", .aio = BlockAio::threads, .write_through = true},
        Mode{.name = "IoUringNocache", .aio = BlockAio::io_uring, .direct = true},
        Mode{.name = "ThreadsNocache", .aio = BlockAio::threads, .direct = true}),
    [](const auto& mode) { return std::string(mode.param.name); });

}  // namespace
}  // namespace cupule::device
