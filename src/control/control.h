#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "control/client_server.h"
#include "control/commands.h"
#include "control/vm_event_stream.h"
#include "event/event_loop.h"
#include "machine/guest_events.h"

namespace cupule::control {

struct ControlOptions {
    std::string vm_name{};
    /// Directory of the manager's socket, empty: none.
    std::string manager_directory{};
    /// Whether the run fails without the manager's socket; otherwise there is a log line.
    bool manager_required = false;
    /// Path of the JSON command socket, empty: none.
    std::string command_socket{};
};

/// The sockets through which programs of the host manage a machine, and the events they get.
/// Made, used and destroyed on the control thread.
class Control : public machine::GuestEvents {
  public:
    /// `commands` and `loop` outlive it.
    static base::Result<std::unique_ptr<Control>> create(const ControlOptions& options,
                                                         event::EventLoop& loop,
                                                         Commands& commands);
    ~Control() override;

    void happened(const machine::GuestEvent& event) override;

  private:
    explicit Control(event::EventLoop& loop);
    base::Result<void> start_manager(const ControlOptions& options, Commands& commands);

    event::EventLoop& loop_;
    std::unique_ptr<ClientServer> manager_;
    std::unique_ptr<ClientServer> command_server_;
    /// Guards the timer only.
    event::Monitor timer_monitor_;
    std::unique_ptr<event::Timer> settle_timer_;
    VmEventStream events_;
    /// Posted work holds it weakly and finds out whether this is still there.
    std::shared_ptr<Control*> self_;
};

}  // namespace cupule::control
