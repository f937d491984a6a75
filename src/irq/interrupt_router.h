#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "event/mutex.h"
#include "irq/interrupt.h"

namespace cupule::irq {

/// Joins devices' lines to GSIs. Several lines may share a GSI: it is asserted while any of them is
/// (wired OR). Lines must not outlive the router. A leaf lock per GSI; any thread.
class InterruptRouter {
  public:
    explicit InterruptRouter(InterruptController& controller);
    ~InterruptRouter();
    InterruptRouter(const InterruptRouter&) = delete;
    InterruptRouter& operator=(const InterruptRouter&) = delete;

    /// `gsi` below the controller's gsi_count().
    std::unique_ptr<LevelLine> make_level_line(Gsi gsi);
    std::unique_ptr<EdgeLine> make_edge_line(Gsi gsi);
    unsigned gsi_count() const { return controller_.gsi_count(); }

  private:
    class Level;
    class Edge;
    struct Input {
        /// Guards the count and the order of calls into the controller.
        event::Mutex mutex;
        unsigned asserted CUPULE_GUARDED_BY(mutex) = 0;
    };

    void change(Gsi gsi, bool asserted);
    void pulse(Gsi gsi);

    InterruptController& controller_;
    std::vector<std::unique_ptr<Input>> inputs_;
};

}  // namespace cupule::irq
