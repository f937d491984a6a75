#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "event/mutex.h"

namespace cupule::hsm {

/// The VMs that live on one service: each has an id and a name of its own. Any thread.
class VmRegistry {
  public:
    /// What one VM holds; gives it back at its end. The registry outlives it.
    class Claim {
      public:
        Claim(VmRegistry& registry, std::uint16_t id) : registry_(registry), id_(id) {}
        ~Claim();
        Claim(const Claim&) = delete;
        Claim& operator=(const Claim&) = delete;
        std::uint16_t id() const { return id_; }

      private:
        VmRegistry& registry_;
        std::uint16_t id_;
    };

    static constexpr unsigned vms_max = 64;

    /// nullptr when the name is taken or there are `vms_max` VMs.
    std::unique_ptr<Claim> claim(const std::string& name) CUPULE_EXCLUDES(mutex_);

  private:
    void release(std::uint16_t id) CUPULE_EXCLUDES(mutex_);

    /// Guards the names. A leaf lock.
    event::Mutex mutex_;
    std::map<std::uint16_t, std::string> names_ CUPULE_GUARDED_BY(mutex_);
};

}  // namespace cupule::hsm
