#include "io/io_dispatcher.h"

#include <gtest/gtest.h>

#include <array>

namespace cupule::io {
namespace {

/// Eight bytes of storage.
class Bytes : public IoHandler {
  public:
    std::uint64_t read(std::uint64_t offset, unsigned size) override {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < size; ++i) {
            value |= std::uint64_t{bytes.at(offset + i)} << (8 * i);
        }
        return value;
    }
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
        for (unsigned i = 0; i < size; ++i) {
            bytes.at(offset + i) = static_cast<std::uint8_t>(value >> (8 * i));
        }
    }
    std::array<std::uint8_t, 8> bytes{};
};

class DispatcherTest : public testing::Test {
  protected:
    DispatcherTest() {
        EXPECT_TRUE(dispatcher_.ports().map_fixed(range(0x70, 2)).has_value());
        EXPECT_TRUE(dispatcher_.mmio().map_fixed(range(0xFED0'0000, 8)).has_value());
    }
    IoRange range(std::uint64_t base, std::uint64_t size) {
        return {
            .base = base, .size = size, .handler = &bytes_, .monitor = &monitor_, .name = "bytes"};
    }
    std::uint64_t access(IoRequest request) {
        request.state = IoState::processing;
        dispatcher_.handle(request);
        EXPECT_EQ(request.state, IoState::complete);
        return request.value;
    }

    event::Monitor monitor_;
    Bytes bytes_;
    IoDispatcher dispatcher_{1};
};

TEST_F(DispatcherTest, ReadsWhatWasWritten) {
    access({.kind = IoKind::mmio,
            .direction = IoDirection::write,
            .size = 8,
            .address = 0xFED0'0000,
            .value = 0x8877'6655'4433'2211});
    EXPECT_EQ(access({.kind = IoKind::mmio, .size = 4, .address = 0xFED0'0002}), 0x6655'4433U);
}

TEST_F(DispatcherTest, ARangeWithoutAMonitorIsEnteredWithoutALock) {
    IoRange free_range = range(0xCF8, 8);
    free_range.monitor = nullptr;
    ASSERT_TRUE(dispatcher_.ports().map_fixed(free_range).has_value());
    event::MutexLock elsewhere(monitor_);  // a locked entry would wait for ever
    access({.kind = IoKind::port,
            .direction = IoDirection::write,
            .size = 4,
            .address = 0xCF8,
            .value = 0x8000'0000});
    EXPECT_EQ(access({.kind = IoKind::port, .size = 4, .address = 0xCF8}), 0x8000'0000U);
}

TEST_F(DispatcherTest, UnclaimedReadsAreOnesOfTheAccessSize) {
    EXPECT_EQ(access({.kind = IoKind::mmio, .size = 8, .address = 0x1'0000'0000}),
              ~std::uint64_t{0});
    EXPECT_EQ(access({.kind = IoKind::port, .size = 2, .address = 0x300}), 0xFFFFU);
    EXPECT_EQ(access({.kind = IoKind::pci_config, .size = 4}), 0xFFFF'FFFFU);
}

TEST_F(DispatcherTest, AnMmioAccessThatCrossesARangeEndIsNobodys) {
    EXPECT_EQ(access({.kind = IoKind::mmio, .size = 8, .address = 0xFED0'0004}), ~std::uint64_t{0});
}

TEST_F(DispatcherTest, APortAccessThatCrossesARangeEndIsSplitIntoBytes) {
    bytes_.bytes = {0x11, 0x22};
    EXPECT_EQ(access({.kind = IoKind::port, .size = 4, .address = 0x70}), 0xFFFF'2211U);
    access({.kind = IoKind::port,
            .direction = IoDirection::write,
            .size = 2,
            .address = 0x71,
            .value = 0xBBAA});
    EXPECT_EQ(bytes_.bytes[1], 0xAA);
}

class CountingTracer : public IoTracer {
  public:
    void record(const IoRequest& request, std::string_view device,
                std::string_view /*register_name*/) override {
        last = request;
        last_device = device;
        ++count;
    }
    IoRequest last;
    std::string last_device;
    int count = 0;
};

TEST_F(DispatcherTest, TracesEveryRequestWithItsDeviceAndValue) {
    CountingTracer tracer;
    dispatcher_.set_tracer(&tracer);
    bytes_.bytes[0] = 0x5A;
    access({.kind = IoKind::port, .size = 1, .address = 0x70});
    EXPECT_EQ(tracer.count, 1);
    EXPECT_EQ(tracer.last.value, 0x5AU);
    EXPECT_EQ(tracer.last_device, "bytes");
}

}  // namespace
}  // namespace cupule::io
