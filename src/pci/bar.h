#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "io/io_handler.h"

namespace cupule::pci {

enum class BarKind : std::uint8_t { memory_32, memory_64, io, rom };

/// Where the expansion ROM's register stands among a function's BARs.
inline constexpr unsigned rom_bar = 6;
inline constexpr unsigned bar_count = 7;

/// Hears where a BAR decodes: who backs it with host memory (passthrough, ivshmem) or keeps
/// doorbells inside it (ioeventfd) maps and unmaps here. Called with the function's monitor held,
/// only when something changes.
class BarMapper {
  public:
    virtual ~BarMapper() = default;
    /// `address`: the guest physical address (or port) of the BAR's first byte, or std::nullopt
    /// while it does not decode. A move is reported as one call. The address is a guest's: aligned
    /// to the BAR's size, and nothing else is promised (it may lie on RAM).
    virtual void bar_moved(unsigned bar, std::optional<std::uint64_t> address) = 0;
};

/// What a function says about one of its BARs.
struct BarSpec {
    BarKind kind = BarKind::memory_32;
    /// Power of two: memory at least 16 bytes, I/O at least 4 and at most 64 KiB, ROM at least
    /// 2 KiB; below 4 GiB unless memory_64.
    std::uint64_t size = 0;
    bool prefetchable = false;
    /// Answers accesses, entered under the function's monitor; nullptr: nobody does (host memory
    /// mapped by `mapper`). Outlives the function.
    io::IoHandler* handler = nullptr;
    BarMapper* mapper = nullptr;
};

/// A BAR as it stands now, for the resource allocator and for views.
struct BarState {
    BarKind kind = BarKind::memory_32;
    std::uint64_t size = 0;  // 0: there is no such BAR
    bool prefetchable = false;
    /// What the register holds, decoded or not.
    std::uint64_t address = 0;
    bool decodes = false;
};

}  // namespace cupule::pci
