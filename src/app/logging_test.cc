#include "app/logging.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "app/files.h"
#include "testing/fake_timers.h"

namespace cupule::app {
namespace {

class LoggingTest : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string name = std::filesystem::temp_directory_path() / "cupule_logging_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    std::string path(const std::string& name) const { return directory_ + "/" + name; }
    std::string text_of(const std::string& name) const {
        return read_file(path(name)).value_or("?");
    }

    std::string directory_;
};

TEST_F(LoggingTest, EachPlaceTakesTheLinesOfItsLevel) {
    const auto console = base::open_file(path("console"), O_RDWR | O_CREAT, 0600);
    ASSERT_TRUE(console);
    ASSERT_TRUE(base::open_file(path("kmsg"), O_RDWR | O_CREAT, 0600));
    testing::FakeTimers clock;
    clock.set_wall_ns(1'000'000'000'000'000'000);
    const LoggerOptions options{.console = base::LogLevel::warning,
                                .kmsg = base::LogLevel::error,
                                .disk = base::LogLevel::info};
    const auto logger = Logger::create(
        options, "vm1",
        {.kmsg = path("kmsg"), .directory = path("logs"), .console_fd = console->get()}, clock);
    ASSERT_TRUE(logger) << logger.error().message;
    EXPECT_EQ((*logger)->level(), base::LogLevel::info);
    (*logger)->write(base::LogLevel::error, "E");
    (*logger)->write(base::LogLevel::warning, "W");
    (*logger)->write(base::LogLevel::info, "I");
    (*logger)->write(base::LogLevel::debug, "D");
    EXPECT_EQ(text_of("console"), "cupule: E\ncupule: warning: W\n");
    EXPECT_EQ(text_of("kmsg"), "<3>acrn_dm: E\n");
    EXPECT_EQ(text_of("logs/vm1_log_0"),
              "[2001-09-09 01:46:40][    1.000000] error: E\n"
              "[2001-09-09 01:46:40][    1.000000] warning: W\n"
              "[2001-09-09 01:46:40][    1.000000] info: I\n");
}

TEST_F(LoggingTest, TheDiskKeepsTheLastEightFilesOfTwoMegabytes) {
    auto log = DiskLog::open(directory_, "vm");
    ASSERT_TRUE(log);
    const std::string line(DiskLog::file_size_max / 2, 'x');
    for (int i = 0; i < 20; ++i) {
        log->write(line);
    }
    for (int i = 0; i < 10; ++i) {
        struct stat status {};
        const bool exists = ::stat(path("vm_log_" + std::to_string(i)).c_str(), &status) == 0;
        EXPECT_EQ(exists, i >= 2) << i;
        if (exists) {
            EXPECT_EQ(status.st_size, DiskLog::file_size_max) << i;
        }
    }
    EXPECT_FALSE(std::filesystem::exists(path("vm_log_10")));
}

TEST_F(LoggingTest, ANewRunGoesOnInTheLastFile) {
    for (const char* name : {"vm_log_3", "vm_log_11", "vm_log_x", "vm2_log_40"}) {
        ASSERT_TRUE(base::open_file(path(name), O_WRONLY | O_CREAT, 0600));
    }
    auto log = DiskLog::open(directory_, "vm");
    ASSERT_TRUE(log);
    log->write("line\n");
    EXPECT_EQ(text_of("vm_log_11"), "line\n");
}

TEST_F(LoggingTest, APlaceThatCannotBeOpenedIsAnErrorThatNamesIt) {
    testing::FakeTimers clock;
    const LoggerOptions options{.kmsg = base::LogLevel::error};
    const auto logger =
        Logger::create(options, "vm", {.kmsg = path("none"), .directory = directory_}, clock);
    ASSERT_FALSE(logger);
    EXPECT_NE(logger.error().message.find(path("none")), std::string::npos);
}

}  // namespace
}  // namespace cupule::app
