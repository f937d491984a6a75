#include "irq/interrupt_router.h"

#include "base/assert.h"

namespace cupule::irq {

class InterruptRouter::Level : public LevelLine {
  public:
    Level(InterruptRouter& router, Gsi gsi) : router_(router), gsi_(gsi) {}
    ~Level() override { Level::set_level(false); }
    void set_level(bool asserted) override {
        event::MutexLock lock(mutex_);
        if (asserted != asserted_) {
            asserted_ = asserted;
            router_.change(gsi_, asserted);
        }
    }

  private:
    InterruptRouter& router_;
    const Gsi gsi_;
    /// Guards the line's own level; taken before the input's.
    event::Mutex mutex_;
    bool asserted_ CUPULE_GUARDED_BY(mutex_) = false;
};

class InterruptRouter::Edge : public EdgeLine {
  public:
    Edge(InterruptRouter& router, Gsi gsi) : router_(router), gsi_(gsi) {}
    void pulse() override { router_.pulse(gsi_); }

  private:
    InterruptRouter& router_;
    const Gsi gsi_;
};

InterruptRouter::InterruptRouter(InterruptController& controller) : controller_(controller) {
    for (unsigned i = 0; i < controller.gsi_count(); ++i) {
        inputs_.push_back(std::make_unique<Input>());
    }
}

InterruptRouter::~InterruptRouter() = default;

std::unique_ptr<LevelLine> InterruptRouter::make_level_line(Gsi gsi) {
    CUPULE_ASSERT(gsi.value < inputs_.size());
    return std::make_unique<Level>(*this, gsi);
}

std::unique_ptr<EdgeLine> InterruptRouter::make_edge_line(Gsi gsi) {
    CUPULE_ASSERT(gsi.value < inputs_.size());
    return std::make_unique<Edge>(*this, gsi);
}

void InterruptRouter::change(Gsi gsi, bool asserted) {
    Input& input = *inputs_[gsi.value];
    event::MutexLock lock(input.mutex);
    asserted ? ++input.asserted : --input.asserted;
    if (input.asserted == (asserted ? 1U : 0U)) {
        controller_.set_gsi_level(gsi, asserted);
    }
}

void InterruptRouter::pulse(Gsi gsi) {
    Input& input = *inputs_[gsi.value];
    event::MutexLock lock(input.mutex);
    if (input.asserted == 0) {  // A held line hides the edge, as the wire does.
        controller_.pulse_gsi(gsi);
    }
}

}  // namespace cupule::irq
