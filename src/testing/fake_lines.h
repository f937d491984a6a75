#pragma once

#include <vector>

#include "irq/interrupt.h"

namespace cupule::testing {

/// Remembers its level and counts rising edges.
class FakeLevelLine : public irq::LevelLine {
  public:
    void set_level(bool asserted) override {
        rises += asserted && !level ? 1 : 0;
        level = asserted;
    }
    bool level = false;
    int rises = 0;
};

class FakeEdgeLine : public irq::EdgeLine {
  public:
    void pulse() override { ++pulses; }
    int pulses = 0;
};

class FakeMessageSink : public irq::MessageSink {
  public:
    void send(const irq::MsiMessage& message) override { messages.push_back(message); }
    std::vector<irq::MsiMessage> messages;
};

}  // namespace cupule::testing
