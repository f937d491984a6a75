#include "app/nearest.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

namespace cupule::app {

unsigned edit_distance(std::string_view left, std::string_view right) {
    // Optimal string alignment: three rows of the usual table.
    std::vector<unsigned> before_last(right.size() + 1);
    std::vector<unsigned> last(right.size() + 1);
    std::vector<unsigned> row(right.size() + 1);
    for (std::size_t j = 0; j <= right.size(); ++j) {
        last[j] = static_cast<unsigned>(j);
    }
    for (std::size_t i = 1; i <= left.size(); ++i) {
        row[0] = static_cast<unsigned>(i);
        for (std::size_t j = 1; j <= right.size(); ++j) {
            const unsigned replaced = last[j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1);
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
            if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1]) {
                row[j] = std::min(row[j], before_last[j - 2] + 1);
            }
        }
        std::swap(before_last, last);
        std::swap(last, row);
    }
    return last[right.size()];
}

std::string_view nearest(std::string_view text, std::span<const std::string_view> candidates) {
    std::string_view best;
    // A third of the letters may be wrong, and two in any case: more is another word.
    unsigned best_distance = std::max(3U, static_cast<unsigned>(text.size() / 3 + 1));
    for (const std::string_view candidate : candidates) {
        const unsigned distance = edit_distance(text, candidate);
        if (distance < best_distance && distance < candidate.size()) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

std::string suggestion(std::string_view text, std::span<const std::string_view> candidates) {
    const std::string_view found = nearest(text, candidates);
    return found.empty() ? std::string{} : fmt::format("; did you mean '{}'?", found);
}

}  // namespace cupule::app
