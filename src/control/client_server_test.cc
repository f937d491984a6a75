#include "control/client_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cstdlib>

#include "backend/unix_socket.h"
#include "testing/channel_bench.h"

namespace cupule::control {
namespace {

/// Answers each read with its size and text; "events" asks for events.
class Echo : public ClientSession {
  public:
    std::string receive(std::span<const std::byte> bytes) override {
        std::string text;
        for (const std::byte b : bytes) {
            text += static_cast<char>(b);
        }
        wants_ |= text == "events";
        return text == "flood" ? std::string(std::size_t{64} << 20, 'f') : "<" + text + ">";
    }
    bool wants_events() const override { return wants_; }

  private:
    bool wants_ = false;
};

class ClientServerTest : public ::testing::Test, protected cupule::testing::ChannelBench {
  protected:
    ClientServerTest() {
        std::string pattern = "/tmp/cupule-control-XXXXXX";
        directory_ = mkdtemp(pattern.data());
        path_ = directory_ + "/socket";
        start();
    }
    ~ClientServerTest() override {
        server_.reset();
        rmdir(directory_.c_str());
    }
    void start() {
        server_ = take(ClientServer::create(*loop, path_, [] { return std::make_unique<Echo>(); }));
    }
    base::FileDescriptor connect() { return take(backend::connect_unix(path_)); }
    /// What the client has when `text` has come, or 5 s have passed.
    std::string read_until(const base::FileDescriptor& client, const std::string& text) {
        std::string got;
        run_until([&] {
            got += get(client.get());
            return got == text;
        });
        return got;
    }
    /// Whether the server has closed the connection.
    bool closed(const base::FileDescriptor& client) {
        return run_until([&] {
            std::array<char, 4096> block{};
            ssize_t count = 1;
            while (count > 0) {
                count = recv(client.get(), block.data(), block.size(), MSG_DONTWAIT);
            }
            return count == 0;
        });
    }

    std::string directory_;
    std::string path_;
    std::unique_ptr<ClientServer> server_;
};

TEST_F(ClientServerTest, TheSocketIsItsOwnersAloneAndGoesWithTheServer) {
    struct stat status {};
    ASSERT_EQ(lstat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    server_.reset();
    EXPECT_NE(lstat(path_.c_str(), &status), 0);
}

TEST_F(ClientServerTest, ClientsAreServedSideBySide) {
    const auto first = connect();
    const auto second = connect();
    put(second.get(), "two");
    put(first.get(), "one");
    EXPECT_EQ(read_until(first, "<one>"), "<one>");
    EXPECT_EQ(read_until(second, "<two>"), "<two>");
    EXPECT_EQ(server_->client_count(), 2U);
}

TEST_F(ClientServerTest, OneClientTooManyIsRefusedAndARoomIsFreeAgainWhenOneLeaves) {
    std::vector<base::FileDescriptor> clients;
    for (std::size_t i = 0; i < ClientServer::clients_max; ++i) {
        clients.push_back(connect());
    }
    EXPECT_TRUE(run_until([&] { return server_->client_count() == ClientServer::clients_max; }));
    const auto refused = connect();
    EXPECT_TRUE(closed(refused));
    clients.pop_back();
    EXPECT_TRUE(run_until([&] { return server_->client_count() == 3; }));
    const auto next = connect();
    put(next.get(), "hello");
    EXPECT_EQ(read_until(next, "<hello>"), "<hello>");
}

TEST_F(ClientServerTest, EventsReachThoseWhoWantThem) {
    const auto listening = connect();
    const auto other = connect();
    put(listening.get(), "events");
    put(other.get(), "nothing");
    EXPECT_EQ(read_until(listening, "<events>"), "<events>");
    EXPECT_EQ(read_until(other, "<nothing>"), "<nothing>");
    server_->publish("news");
    EXPECT_EQ(read_until(listening, "news"), "news");
    EXPECT_EQ(get(other.get()), "");
}

TEST_F(ClientServerTest, AClientThatDoesNotReadIsDroppedAndHoldsNobodyUp) {
    const auto lazy = connect();
    const auto other = connect();
    put(lazy.get(), "flood");
    put(other.get(), "still there");
    EXPECT_EQ(read_until(other, "<still there>"), "<still there>");
    EXPECT_TRUE(run_until([&] { return server_->client_count() == 1; }));
}

TEST_F(ClientServerTest, ADisconnectBeforeTheAnswerIsNoTrouble) {
    auto client = connect();
    put(client.get(), "last words");
    client.close();
    EXPECT_TRUE(run_until([&] { return server_->client_count() == 0; }));
    settle();
}

TEST_F(ClientServerTest, WorkThatIsUnderWayWhenTheServerGoesIsNotDone) {
    const auto client = connect();
    put(client.get(), "x");
    EXPECT_TRUE(run_until([&] { return server_->client_count() == 1; }));
    loop->post([this] { server_.reset(); });
    settle();
    EXPECT_TRUE(closed(client));
}

TEST_F(ClientServerTest, ALivingServersSocketIsNotTaken) {
    const auto second = ClientServer::create(*loop, path_, [] { return std::make_unique<Echo>(); });
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find(path_), std::string::npos);
}

}  // namespace
}  // namespace cupule::control
