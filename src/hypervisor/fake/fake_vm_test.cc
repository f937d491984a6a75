#include "hypervisor/fake/fake_vm.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "base/file_descriptor.h"

namespace cupule::hypervisor {
namespace {

class Echo : public io::IoClient {
  public:
    void handle(io::IoRequest& request) override {
        EXPECT_EQ(request.state, io::IoState::processing);
        if (request.direction == io::IoDirection::read) {
            request.value = request.address;
        }
        ++count;
        request.state = io::IoState::complete;
    }
    int count = 0;
};

class Events : public VmEvents {
  public:
    void vm_stopped(VmStop reason, const std::string& /*detail*/) override { last = reason; }
    std::optional<VmStop> last;
};

TEST(FakeVm, HandsAccessesToTheClientOnlyWhileItRuns) {
    FakeVm vm({.name = "t"});
    Echo client;
    Events events;
    EXPECT_EQ(vm.read_port(0x60, 1), 0xFFU);
    ASSERT_TRUE(vm.start(client, events).has_value());
    EXPECT_EQ(vm.read_port(0x60, 1), 0x60U);
    vm.pause();
    EXPECT_EQ(vm.read_port(0x60, 1), 0xFFU);
    EXPECT_EQ(client.count, 1);
    vm.stop(VmStop::triple_fault);
    EXPECT_EQ(events.last, VmStop::triple_fault);
}

TEST(FakeVm, DoorbellsEndBeforeTheClient) {
    FakeVm vm({.name = "t"});
    Echo client;
    Events events;
    ASSERT_TRUE(vm.start(client, events).has_value());
    const base::FileDescriptor eventfd = *base::make_eventfd();
    const io::Doorbell doorbell{.kind = io::IoKind::port,
                                .address = 0x2010,
                                .size = 2,
                                .match = 3,
                                .eventfd = eventfd.get()};
    ASSERT_TRUE(vm.add_doorbell(doorbell).has_value());
    EXPECT_EQ(vm.add_doorbell(doorbell).error().code, EEXIST);
    vm.write_port(0x2010, 2, 3);
    EXPECT_EQ(client.count, 0);
    vm.write_port(0x2010, 2, 4);
    vm.write_port(0x2010, 1, 3);
    EXPECT_EQ(client.count, 2);
}

TEST(FakeVm, EventfdsInjectTheirMessage) {
    FakeVm vm({.name = "t"});
    const base::FileDescriptor eventfd = *base::make_eventfd();
    const irq::MsiMessage message{.address = 0xFEE0'0000, .data = 0x41};
    ASSERT_TRUE(vm.route_message(eventfd.get(), message).has_value());
    base::signal_eventfd(eventfd.get());
    EXPECT_EQ(vm.deliver_event_interrupts(), 1U);
    EXPECT_EQ(vm.take_messages(), std::vector<irq::MsiMessage>{message});
    EXPECT_EQ(vm.deliver_event_interrupts(), 0U);
}

TEST(FakeVm, ItsEndWaitsForTheThreadsThatPlayProcessors) {
    auto vm = std::make_unique<FakeVm>(VmSpec{.name = "t"});
    auto stay = std::make_unique<FakeVm::Stay>(*vm);
    std::uint64_t answer = 0;
    std::thread processor(
        [&answer, stay = std::move(stay)] { answer = stay->vm().read_port(0x80, 1); });
    vm.reset();
    processor.join();
    EXPECT_EQ(answer, 0xFFU);
}

}  // namespace
}  // namespace cupule::hypervisor
