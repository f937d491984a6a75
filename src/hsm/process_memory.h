#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cupule::hsm {

/// One line of /proc/PID/maps (proc(5)).
struct MapsLine {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t file_offset = 0;
    bool is_shared = false;
    bool is_writable = false;
    /// "begin-end" as it stands there: the name below map_files.
    std::string name{};

    bool operator==(const MapsLine&) const = default;
};

/// Empty for a line of another form.
std::optional<MapsLine> parse_maps_line(std::string_view line);

/// The mappings that cover [begin, end) without a gap, ascending; empty when there is one, or when
/// one of them is private or not writable: such memory cannot be shared with another process.
std::vector<MapsLine> find_shared_mappings(std::string_view maps, std::uint64_t begin,
                                           std::uint64_t end);

}  // namespace cupule::hsm
