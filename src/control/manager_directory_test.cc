#include "control/manager_directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "backend/unix_socket.h"
#include "base/file_descriptor.h"

namespace cupule::control {
namespace {

class ManagerDirectoryTest : public ::testing::Test {
  protected:
    ManagerDirectoryTest() {
        std::string pattern = "/tmp/cupule-mngr-XXXXXX";
        top_ = mkdtemp(pattern.data());
        directory_ = top_ + "/acrn/mngr";
    }
    ~ManagerDirectoryTest() override { std::filesystem::remove_all(top_); }

    /// The number of a process that is gone.
    static pid_t dead_process() {
        const pid_t pid = fork();
        if (pid == 0) {
            _exit(0);
        }
        waitpid(pid, nullptr, 0);
        return pid;
    }
    base::FileDescriptor listen_as(pid_t pid) {
        auto listener = backend::listen_unix(path_of(pid), 1);
        EXPECT_TRUE(listener);
        return listener ? std::move(*listener) : base::FileDescriptor{};
    }
    std::string path_of(pid_t pid) const { return manager_socket_path(directory_, "vm", pid); }

    std::string top_;
    std::string directory_;
};

TEST_F(ManagerDirectoryTest, TheSocketsNameIsAcrns) {
    EXPECT_EQ(manager_socket_path(acrn_manager_directory, "vm1", 42),
              "/run/acrn/mngr/vm1.monitor.42.socket");
}

TEST_F(ManagerDirectoryTest, IsMadeWithTheOneAboveItAndMayExist) {
    ASSERT_TRUE(prepare_manager_directory(directory_));
    EXPECT_TRUE(std::filesystem::is_directory(directory_));
    EXPECT_TRUE(prepare_manager_directory(directory_));
}

TEST_F(ManagerDirectoryTest, OneThatCannotBeMadeIsAnErrorThatNamesIt) {
    std::ofstream(top_ + "/acrn") << "a file";
    const auto result = prepare_manager_directory(directory_);
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find(directory_), std::string::npos);
}

TEST_F(ManagerDirectoryTest, OnlySocketsOfDeadProcessesAreRemoved) {
    ASSERT_TRUE(prepare_manager_directory(directory_));
    const pid_t dead = dead_process();
    listen_as(dead).close();
    listen_as(getpid()).close();  // between its bind and its listen, perhaps
    const auto inherited = listen_as(dead + 1'000'000);
    std::ofstream(directory_ + "/vm.monitor.1000001.socket") << "a file";
    std::ofstream(directory_ + "/vm.monitor..socket") << "a file";
    listen_as(0).close();
    ASSERT_TRUE(prepare_manager_directory(directory_));
    EXPECT_FALSE(std::filesystem::exists(path_of(dead)));
    EXPECT_TRUE(std::filesystem::exists(path_of(getpid())));
    EXPECT_TRUE(std::filesystem::exists(path_of(dead + 1'000'000)));
    EXPECT_TRUE(std::filesystem::exists(path_of(1'000'001)));
    EXPECT_TRUE(std::filesystem::exists(path_of(0)));
    EXPECT_TRUE(std::filesystem::exists(directory_ + "/vm.monitor..socket"));
}

}  // namespace
}  // namespace cupule::control
