#pragma once

#include <span>
#include <string>
#include <string_view>

namespace cupule::app {

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to turn
/// one text into the other.
unsigned edit_distance(std::string_view left, std::string_view right);

/// The candidate that `text` is most likely a mistyped form of; empty when none is near. Of equally
/// near ones the first.
std::string_view nearest(std::string_view text, std::span<const std::string_view> candidates);

/// "; did you mean 'x'?", or nothing when no candidate is near.
std::string suggestion(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace cupule::app
