#include "backend/terminal_size.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <memory>
#include <utility>
#include <vector>

namespace cupule::backend {
namespace {

using Size = std::pair<unsigned, unsigned>;

class TerminalSizeTest : public ::testing::Test {
  protected:
    TerminalSizeTest() {
        sigset_t window;
        sigemptyset(&window);
        sigaddset(&window, SIGWINCH);
        EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &window, &before_), 0);
        int main_end = -1;
        int terminal = -1;
        EXPECT_EQ(openpty(&main_end, &terminal, nullptr, nullptr, nullptr), 0);
        main_end_ = base::FileDescriptor(main_end);
        terminal_ = base::FileDescriptor(terminal);
    }
    ~TerminalSizeTest() override {
        {
            event::MutexLock lock(monitor_);
            size_.reset();
        }
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    void resize(unsigned short columns, unsigned short rows) {
        const winsize cells{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
        ASSERT_EQ(ioctl(main_end_.get(), TIOCSWINSZ, &cells), 0);
    }
    void watch(int fd) {
        event::MutexLock lock(monitor_);
        auto watched = TerminalSize::watch(fd, *loop_, monitor_,
                                           [this](std::uint16_t columns, std::uint16_t rows) {
                                               seen_.emplace_back(columns, rows);
                                           });
        ASSERT_TRUE(watched) << watched.error().message;
        size_ = std::move(*watched);
    }
    /// What the kernel does for whoever the terminal controls.
    void signal() { ASSERT_EQ(pthread_kill(pthread_self(), SIGWINCH), 0); }
    void turn() {
        for (int i = 0; i < 4; ++i) {
            loop_->run_once(5);
        }
    }

    sigset_t before_{};
    base::FileDescriptor main_end_;
    base::FileDescriptor terminal_;
    std::unique_ptr<event::EventLoop> loop_ = *event::EventLoop::create();
    event::Monitor monitor_;
    std::unique_ptr<TerminalSize> size_;
    std::vector<Size> seen_;
};

TEST_F(TerminalSizeTest, TellsTheSizeThereIsAndThenEachNewOneOnce) {
    resize(80, 25);
    watch(terminal_.get());
    turn();
    EXPECT_EQ(seen_, (std::vector<Size>{{80, 25}}));
    signal();  // nothing has changed
    turn();
    EXPECT_EQ(seen_.size(), 1U);
    resize(132, 43);
    signal();
    turn();
    EXPECT_EQ(seen_, (std::vector<Size>{{80, 25}, {132, 43}}));
    resize(100, 30);
    resize(65'535, 1);
    signal();
    signal();
    turn();
    EXPECT_EQ(seen_, (std::vector<Size>{{80, 25}, {132, 43}, {65'535, 1}}));
}

TEST_F(TerminalSizeTest, WhatIsNoTerminalNeverTells) {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    const base::FileDescriptor reading(ends[0]);
    const base::FileDescriptor writing(ends[1]);
    watch(reading.get());
    turn();
    signal();
    turn();
    EXPECT_TRUE(seen_.empty());
}

TEST_F(TerminalSizeTest, NobodyHearsOfASizeAfterItsEnd) {
    resize(80, 25);
    watch(terminal_.get());
    turn();
    {
        event::MutexLock lock(monitor_);
        size_.reset();
    }
    resize(90, 26);
    signal();
    turn();
    EXPECT_EQ(seen_.size(), 1U);
}

}  // namespace
}  // namespace cupule::backend
