#include "control/control.h"

#include <unistd.h>

#include "base/log.h"
#include "control/command_session.h"
#include "control/manager_directory.h"
#include "control/manager_session.h"

namespace cupule::control {

base::Result<std::unique_ptr<Control>> Control::create(const ControlOptions& options,
                                                       event::EventLoop& loop, Commands& commands) {
    std::unique_ptr<Control> control(new Control(loop));
    if (!options.command_socket.empty()) {
        auto server = ClientServer::create(loop, options.command_socket, [&commands] {
            return std::make_unique<CommandSession>(commands);
        });
        if (!server) {
            return std::unexpected(server.error().in("option --cmd_monitor"));
        }
        control->command_server_ = std::move(*server);
    }
    if (!options.manager_directory.empty()) {
        const auto started = control->start_manager(options, commands);
        if (!started && options.manager_required) {
            return std::unexpected(started.error().in("option --mngr"));
        }
        if (!started) {
            base::log_warning("{}: acrnctl will not find this machine: {}", options.vm_name,
                              started.error().message);
        }
    }
    return control;
}

Control::Control(event::EventLoop& loop)
    : loop_(loop),
      events_(
          loop.clock(),
          [this](const std::string& line) {
              if (command_server_) {
                  command_server_->publish(line);
              }
          },
          [this](std::uint64_t deadline_ns) {
              event::MutexLock lock(timer_monitor_);
              settle_timer_->start_at(deadline_ns);
          }),
      self_(std::make_shared<Control*>(this)) {
    event::MutexLock lock(timer_monitor_);
    // Sending takes the server's monitor: by way of the loop.
    settle_timer_ = loop.make_timer(timer_monitor_, [this] {
        loop_.post([self = std::weak_ptr(self_)] {
            if (const auto control = self.lock()) {
                (*control)->events_.clock_settled();
            }
        });
    });
}

Control::~Control() {
    event::MutexLock lock(timer_monitor_);
    settle_timer_.reset();
}

base::Result<void> Control::start_manager(const ControlOptions& options, Commands& commands) {
    CUPULE_TRY(prepare_manager_directory(options.manager_directory));
    CUPULE_TRY_ASSIGN(
        manager_,
        ClientServer::create(
            loop_, manager_socket_path(options.manager_directory, options.vm_name, getpid()),
            [&commands] { return std::make_unique<ManagerSession>(commands); }));
    base::log_info("{}: acrnctl finds this machine by '{}'", options.vm_name, manager_->path());
    return {};
}

void Control::happened(const machine::GuestEvent& event) {
    events_.happened(event);
}

}  // namespace cupule::control
