#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/vm_options.h"
#include "base/error.h"

namespace cupule::app {

/// The processors of the host by their local APIC ids.
class HostCpus {
  public:
    /// From the text of /proc/cpuinfo and, where it could be read, the bytes of the host's MADT
    /// ("APIC" table). cpuinfo knows Linux's numbers of the processors that are online; the MADT
    /// also knows those that are not.
    static HostCpus parse(std::string_view cpuinfo, std::span<const std::uint8_t> madt);
    /// From this host's files.
    static HostCpus read();

    /// The processor of that id, nullopt when the host has none.
    std::optional<PinnedCpu> find(std::uint32_t lapic_id) const;
    /// "0, 2, 4, 6": the ids for a message.
    std::string known_ids() const;
    /// In the MADT's order, or cpuinfo's without one.
    const std::vector<PinnedCpu>& cpus() const { return cpus_; }

  private:
    std::vector<PinnedCpu> cpus_;
};

}  // namespace cupule::app
