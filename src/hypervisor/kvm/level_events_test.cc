#include "hypervisor/kvm/level_events.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

namespace cupule::hypervisor {
namespace {

constexpr std::uint64_t ioapic = 0xFEC0'0000;
constexpr unsigned pin = 20;
constexpr std::uint32_t level_low_active = 0xA000;
constexpr std::uint8_t vector = 0x31;

/// Processors' local APICs: what is sent wakes whoever waits for it.
class Processors : public SplitIrqchipHost {
  public:
    void send(const irq::MsiMessage& /*message*/) override { base::signal_eventfd(sent_.get()); }
    void watch_end(unsigned, const irq::MsiMessage&) override {}
    void external_interrupt() override {}
    bool was_sent() const { return is_signalled(sent_.get()); }

    static bool is_signalled(int fd) {
        pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
        constexpr int hang_ms = 30'000;
        const bool there = ::poll(&wait, 1, hang_ms) == 1;
        base::drain_eventfd(fd);
        return there;
    }

  private:
    base::FileDescriptor sent_ = std::move(*base::make_eventfd());
};

class LevelEventsTest : public testing::Test {
  protected:
    void SetUp() override {
        write(0, 0x10 + 2 * pin);
        write(0x10, level_low_active | vector);
        chips_.drive(pin, true);
        auto events = LevelEvents::create(chips_);
        ASSERT_TRUE(events);
        events_ = std::move(*events);
        ASSERT_TRUE(events_->add(device_.get(), pin, resample_.get()));
    }
    void write(std::uint64_t offset, std::uint64_t value) {
        io::IoRequest request{.kind = io::IoKind::mmio,
                              .direction = io::IoDirection::write,
                              .state = io::IoState::processing,
                              .size = 4,
                              .address = ioapic + offset,
                              .value = value};
        chips_.handle(request);
    }

    Processors processors_;
    SplitIrqchip chips_{processors_};
    base::FileDescriptor device_ = std::move(*base::make_eventfd());
    base::FileDescriptor resample_ = std::move(*base::make_eventfd());
    std::unique_ptr<LevelEvents> events_;
};

TEST_F(LevelEventsTest, ASignalIsALevelInterruptWhoseEndAsksForTheNext) {
    for (unsigned i = 0; i < 3; ++i) {
        base::signal_eventfd(device_.get());
        ASSERT_TRUE(processors_.was_sent()) << i;
        chips_.end_of_interrupt(vector);
        ASSERT_TRUE(Processors::is_signalled(resample_.get())) << i;
    }
}

TEST_F(LevelEventsTest, AnEventfdAssertsOneInputAtATime) {
    EXPECT_EQ(events_->add(device_.get(), pin + 1, resample_.get()).error().code, EBUSY);
    events_->remove(device_.get());
    events_->remove(device_.get());
    EXPECT_TRUE(events_->add(device_.get(), pin, resample_.get()));
    base::signal_eventfd(device_.get());
    EXPECT_TRUE(processors_.was_sent());
}

}  // namespace
}  // namespace cupule::hypervisor
