// Who gets a function of the host, and who gets it back.

#include "passthrough/driver_binding.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/file_descriptor.h"
#include "passthrough/driver_keeper.h"
#include "testing/fake_host.h"

namespace cupule::passthrough {
namespace {

using testing::FakeHost;

constexpr const char* nic = "0000:00:02.0";

class DriverBindingTest : public ::testing::Test {
  protected:
    DriverBindingTest() {
        host_.add_driver("vfio-pci");
        host_.add({.name = nic, .driver = "e1000e", .group = 1});
    }
    HostFunction function() const {
        const auto topology = HostTopology::read(host_.root());
        EXPECT_TRUE(topology);
        return *topology->find({.device = 2});
    }
    std::string driver() const { return host_.driver_of(nic); }

    FakeHost host_;
    const DriverBinding binding_{host_.root(),
                                 [this](const std::string& path, const std::string& text) {
                                     return host_.kernel(path, text);
                                 }};
};

TEST_F(DriverBindingTest, GivesAFunctionToVfioAndBackToItsOwnDriver) {
    host_.natural = "another";
    ASSERT_TRUE(binding_.bind(function()));
    EXPECT_EQ(driver(), "vfio-pci");
    ASSERT_TRUE(binding_.record(function()));
    EXPECT_EQ(binding_.record(function())->driver, "e1000e");
    EXPECT_EQ(binding_.record(function())->time, BindingTime::until_unbound);
    ASSERT_TRUE(binding_.unbind(function()));
    EXPECT_EQ(driver(), "e1000e");
    EXPECT_FALSE(binding_.record(function()));
    EXPECT_TRUE(host_.read(std::string("/sys/bus/pci/devices/") + nic + "/driver_override")
                    .starts_with("(null)"));
}

TEST_F(DriverBindingTest, BindingTwiceKeepsTheFirstDriver) {
    ASSERT_TRUE(binding_.bind(function()));
    ASSERT_TRUE(binding_.bind(function()));
    ASSERT_TRUE(binding_.unbind(function()));
    EXPECT_EQ(driver(), "e1000e");
}

TEST_F(DriverBindingTest, AFunctionThatHadNoDriverHasNoneAfterwards) {
    host_.natural = "greedy";
    host_.add({.name = "0000:00:03.0", .group = 2});
    const auto other = [this] { return *HostTopology::read(host_.root())->find({.device = 3}); };
    ASSERT_TRUE(binding_.bind(other()));
    ASSERT_TRUE(binding_.unbind(other()));
    EXPECT_EQ(host_.driver_of("0000:00:03.0"), "");
}

TEST_F(DriverBindingTest, AnOverrideOfTheUserReturns) {
    const std::string path = std::string("/sys/bus/pci/devices/") + nic + "/driver_override";
    host_.write(path, "e1000e\n");
    ASSERT_TRUE(binding_.bind(function()));
    ASSERT_TRUE(binding_.unbind(function()));
    EXPECT_TRUE(host_.read(path).starts_with("e1000e"));
}

TEST_F(DriverBindingTest, WithoutARecordTheDriverThatWantsItGetsIt) {
    host_.natural = "igb";
    host_.add({.name = "0000:00:04.0", .driver = "vfio-pci", .group = 3});
    ASSERT_TRUE(binding_.unbind(*HostTopology::read(host_.root())->find({.device = 4})));
    EXPECT_EQ(host_.driver_of("0000:00:04.0"), "igb");
}

TEST_F(DriverBindingTest, WhereVfioRefusesTheOldDriverHasItAgain) {
    host_.refusing = "vfio-pci";
    const auto bound = binding_.bind(function());
    ASSERT_FALSE(bound);
    EXPECT_NE(bound.error().message.find("vfio-pci does not take 0000:00:02.0"), std::string::npos);
    EXPECT_EQ(driver(), "e1000e");
    EXPECT_FALSE(binding_.record(function()));
}

TEST_F(DriverBindingTest, ADriverThatRefusesItsDeviceIsNamedAndCanHaveItLater) {
    ASSERT_TRUE(binding_.bind(function()));
    host_.refusing = "e1000e";
    const auto unbound = binding_.unbind(function());
    ASSERT_FALSE(unbound);
    EXPECT_NE(unbound.error().message.find("its driver e1000e does not take 0000:00:02.0 back"),
              std::string::npos)
        << unbound.error().message;
    EXPECT_NE(unbound.error().message.find("`cupule passthrough unbind 0000:00:02.0`"),
              std::string::npos);
    EXPECT_EQ(driver(), "");
    ASSERT_TRUE(binding_.record(function())) << "list still tells whose it is";
    EXPECT_FALSE(binding_.unbind(function())) << "as long as its driver refuses";
    host_.refusing.clear();
    ASSERT_TRUE(binding_.unbind(function()));
    EXPECT_EQ(driver(), "e1000e");
    EXPECT_FALSE(binding_.record(function()));
}

TEST_F(DriverBindingTest, ADeviceThatWasNotTakenBackKeepsItsDriverThroughTheNextBinding) {
    ASSERT_TRUE(binding_.bind(function()));
    host_.refusing = "e1000e";
    ASSERT_FALSE(binding_.unbind(function()));
    host_.refusing.clear();
    ASSERT_TRUE(binding_.bind(function(), BindingTime::until_run_ends));
    EXPECT_EQ(driver(), "vfio-pci");
    ASSERT_TRUE(binding_.record(function()));
    EXPECT_EQ(binding_.record(function())->driver, "e1000e");
    EXPECT_EQ(binding_.record(function())->time, BindingTime::until_run_ends);
    ASSERT_TRUE(binding_.unbind(function()));
    EXPECT_EQ(driver(), "e1000e");
}

TEST_F(DriverBindingTest, AnotherDriverThatTakesTheDeviceHasIt) {
    ASSERT_TRUE(binding_.bind(function()));
    host_.refusing = "e1000e";
    host_.natural = "another";
    ASSERT_TRUE(binding_.unbind(function()));
    EXPECT_EQ(driver(), "another");
    EXPECT_FALSE(binding_.record(function()));
}

TEST_F(DriverBindingTest, WhereNobodyTakesItBothRefusalsAreTold) {
    const DriverBinding binding(
        host_.root(), [this](const std::string& path, const std::string& text) {
            host_.refusing = path.ends_with("/bind") ? "e1000e" : "vfio-pci";
            return host_.kernel(path, text);
        });
    const auto bound = binding.bind(function());
    ASSERT_FALSE(bound);
    EXPECT_NE(bound.error().message.find("vfio-pci does not take 0000:00:02.0"), std::string::npos);
    EXPECT_NE(bound.error().message.find("e1000e does not take 0000:00:02.0 back"),
              std::string::npos);
    EXPECT_TRUE(binding.record(function()));
}

TEST_F(DriverBindingTest, NamesWhatIsMissing) {
    const auto unbound = binding_.unbind(function());
    ASSERT_FALSE(unbound);
    EXPECT_NE(unbound.error().message.find("not bound to vfio-pci but to e1000e"),
              std::string::npos);
    FakeHost bare;
    bare.add({.name = nic, .driver = "e1000e"});
    const DriverBinding binding(bare.root());
    const auto bound = binding.bind(*HostTopology::read(bare.root())->find({.device = 2}));
    ASSERT_FALSE(bound);
    EXPECT_NE(bound.error().message.find("modprobe vfio-pci"), std::string::npos);
}

TEST_F(DriverBindingTest, TheKeeperGivesBackWhatItWasToldWhenItsPipeEnds) {
    ASSERT_TRUE(binding_.bind(function(), BindingTime::until_run_ends));
    EXPECT_EQ(binding_.record(function())->time, BindingTime::until_run_ends);
    host_.write("/pipe", "0000:00:02.0\n0000:00:1f.7\nnonsense\n");
    const auto pipe = base::open_file(host_.root() + "/pipe", O_RDONLY);
    ASSERT_TRUE(pipe);
    EXPECT_TRUE(keep_drivers(pipe->get(), binding_, host_.root()).empty());
    EXPECT_EQ(driver(), "e1000e");
}

TEST_F(DriverBindingTest, TheKeeperForgetsADeviceInWhosePlaceAnotherIs) {
    ASSERT_TRUE(binding_.bind(function(), BindingTime::until_run_ends));
    ASSERT_TRUE(host_.kernel(host_.root() + "/sys/bus/pci/devices/" + nic + "/driver/unbind", nic));
    ASSERT_TRUE(host_.kernel(host_.root() + "/sys/bus/pci/drivers/e1000e/bind", nic));
    EXPECT_FALSE(binding_.record(function()));
    host_.write("/pipe", std::string(nic) + "\n");
    const auto pipe = base::open_file(host_.root() + "/pipe", O_RDONLY);
    ASSERT_TRUE(pipe);
    EXPECT_TRUE(keep_drivers(pipe->get(), binding_, host_.root()).empty());
    EXPECT_EQ(driver(), "e1000e");
    EXPECT_EQ(host_.read(std::string("/run/cupule-passthrough/") + nic), "");
}

TEST_F(DriverBindingTest, ADeviceMaySendTheErrorsThatItsDriverLetItSend) {
    host_.add({.name = "0000:00:05.0", .driver = "e1000e", .group = 4, .capability = 0x10});
    const std::string path = "/sys/bus/pci/devices/0000:00:05.0/config";
    constexpr std::size_t device_control = 0x48;
    const auto set_control = [&](char value) {
        std::string config = host_.read(path);
        config[0x42] = 2;  // the capability's version
        config[device_control] = value;
        host_.write(path, config);
    };
    const auto control = [&] { return host_.read(path)[device_control] & 0xFF; };
    const DriverBinding binding(host_.root(),
                                [&](const std::string& file, const std::string& text) {
                                    if (file.ends_with("/unbind")) {
                                        set_control(0x10);  // as a driver does that leaves
                                    }
                                    return host_.kernel(file, text);
                                });
    set_control(0x17);
    const auto with_errors = *HostTopology::read(host_.root())->find({.device = 5});
    ASSERT_TRUE(binding.bind(with_errors));
    EXPECT_EQ(control(), 0x17);
    ASSERT_TRUE(binding.unbind(*HostTopology::read(host_.root())->find({.device = 5})));
    set_control(0x10);
    const auto without = *HostTopology::read(host_.root())->find({.device = 5});
    ASSERT_TRUE(binding.bind(without));
    EXPECT_EQ(control(), 0x10) << "the host did not want to hear of them";
}

TEST_F(DriverBindingTest, ADeviceMaySendTheErrorsThatThePortAboveSendsOn) {
    const std::string port = "0000:00:1c.0";
    host_.add({.name = port, .driver = "pcieport", .capability = 0x10, .header_type = 1});
    host_.add({.name = "0000:01:00.0",
               .driver = "igc",
               .group = 5,
               .capability = 0x10,
               .bus = "pci0000:00/" + port});
    const auto config_of = [](const std::string& name) {
        return "/sys/bus/pci/devices/" + name + "/config";
    };
    const auto set_control = [&](const std::string& name, char value) {
        std::string config = host_.read(config_of(name));
        config[0x42] = 2;
        config[0x48] = value;
        host_.write(config_of(name), config);
    };
    set_control(port, 0x1F);
    set_control("0000:01:00.0", 0x20);
    ASSERT_TRUE(binding_.bind(*HostTopology::read(host_.root())->find({.bus = 1})));
    EXPECT_EQ(host_.read(config_of("0000:01:00.0"))[0x48], 0x26) << "all but corrected ones";
}

TEST_F(DriverBindingTest, TheKeeperLeavesAloneWhatWasGivenBackByHand) {
    host_.write("/pipe", "0000:00:02.0\n");
    const auto pipe = base::open_file(host_.root() + "/pipe", O_RDONLY);
    ASSERT_TRUE(pipe);
    EXPECT_TRUE(keep_drivers(pipe->get(), binding_, host_.root()).empty());
    EXPECT_EQ(driver(), "e1000e");
}

TEST_F(DriverBindingTest, TheKeepersProcessHearsOfEachFunctionAndThenTheEnd) {
    {
        auto keeper = DriverKeeper::start(
            {"/bin/sh", "-c",
             "cat > " + host_.root() + "/heard; echo end >> " + host_.root() + "/heard"});
        ASSERT_TRUE(keeper) << keeper.error().message;
        ASSERT_TRUE((*keeper)->add({.device = 2}));
        ASSERT_TRUE((*keeper)->add({.bus = 1}));
    }
    EXPECT_EQ(host_.read("/heard"), "0000:00:02.0\n0000:01:00.0\nend\n");
    EXPECT_FALSE(DriverKeeper::start({"/no/such/program"}));
}

}  // namespace
}  // namespace cupule::passthrough
