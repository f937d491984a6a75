// Any bytes from clients of the manager's socket and of the JSON socket, in reads of any size.

#include "base/log.h"
#include "control/command_session.h"
#include "control/manager_session.h"
#include "input.h"

namespace {

using namespace cupule;

/// Takes everything, or refuses it by turns.
class AnyCommands : public control::Commands {
  public:
    control::RunState state() const override { return control::RunState::running; }
    std::vector<std::string> statistics() const override {
        return std::vector<std::string>(count_ % 8, "a line with \"quotes\" and \x01");
    }
    base::Result<void> stop() override { return answer(); }
    base::Result<void> destroy() override { return answer(); }
    base::Result<void> reset() override { return answer(); }
    base::Result<void> suspend() override { return answer(); }
    base::Result<void> resume() override { return answer(); }
    base::Result<void> insert_disk(unsigned, const std::string& path) override {
        if (path.empty() || path.size() > control::CommandSession::request_bytes_max) {
            __builtin_trap();
        }
        return answer();
    }
    base::Result<void> inflate(unsigned, std::uint64_t) override { return answer(); }

  private:
    base::Result<void> answer() {
        if (count_++ % 2 == 0) {
            return base::fail("no");
        }
        return {};
    }
    unsigned count_ = 0;
};

class NoLog : public base::LogSink {
  public:
    void write(base::LogLevel, std::string_view) override {}
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static NoLog no_log;
    base::set_log_sink(&no_log);
    fuzz::Input input(data, size);
    AnyCommands commands;
    control::ManagerSession manager(commands);
    control::CommandSession json(commands);
    while (!input.empty()) {
        const auto choice = input.take<std::uint16_t>();
        const auto bytes = input.bytes(choice / 2);
        if (bytes.empty()) {
            continue;
        }
        if (choice % 2 != 0) {
            json.receive(bytes);
        } else if (manager.receive(bytes).size() % control::ManagerMessage::bytes != 0) {
            __builtin_trap();
        }
    }
    return 0;
}
