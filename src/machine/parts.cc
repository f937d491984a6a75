#include "machine/parts.h"

#include <utility>

namespace cupule::machine {

void Parts::add(std::string name, snapshot::Device& device, event::Monitor& monitor,
                std::function<void()> reset) {
    parts_.push_back({std::move(name), &device, &monitor, std::move(reset)});
}

void Parts::reset_all() {
    for (const Part& part : parts_) {
        event::MutexLock lock(*part.monitor);
        if (part.reset) {
            part.reset();
        } else {
            part.device->reset();
        }
    }
}

snapshot::Tree Parts::save() {
    snapshot::Saver saver;
    for (const Part& part : parts_) {
        event::MutexLock lock(*part.monitor);
        saver.begin(part.name);
        part.device->visit(saver);
        saver.end();
    }
    return saver.take();
}

}  // namespace cupule::machine
