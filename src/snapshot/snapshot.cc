#include "snapshot/snapshot.h"

#include <algorithm>
#include <iterator>

namespace cupule::snapshot {
namespace {

std::string full_name(const std::vector<std::string>& path, std::string_view name) {
    std::string result;
    for (const std::string& group : path) {
        result += group;
        result += '/';
    }
    result += name;
    return result;
}

}  // namespace

void Saver::begin(std::string_view group) {
    path_.emplace_back(group);
}

void Saver::end() {
    path_.pop_back();
}

void Saver::integer(std::string_view name, std::uint64_t& value, unsigned size) {
    std::vector<std::uint8_t> raw(size);
    for (unsigned i = 0; i < size; ++i) {
        raw[i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
    tree_[full_name(path_, name)] = std::move(raw);
}

void Saver::bytes(std::string_view name, std::span<std::uint8_t> value) {
    tree_[full_name(path_, name)] = {value.begin(), value.end()};
}

void Restorer::begin(std::string_view group) {
    path_.emplace_back(group);
}

void Restorer::end() {
    path_.pop_back();
}

const std::vector<std::uint8_t>* Restorer::find(std::string_view name, std::size_t size) {
    const std::string full = full_name(path_, name);
    const auto found = tree_.find(full);
    if (found == tree_.end()) {
        problems_.push_back(full + " is missing");
        return nullptr;
    }
    if (found->second.size() != size) {
        problems_.push_back(
            fmt::format("{} has {} bytes, the device has {}", full, found->second.size(), size));
        return nullptr;
    }
    return &found->second;
}

void Restorer::integer(std::string_view name, std::uint64_t& value, unsigned size) {
    if (const auto* raw = find(name, size)) {
        value = 0;
        for (unsigned i = 0; i < size; ++i) {
            value |= std::uint64_t{(*raw)[i]} << (8 * i);
        }
    }
}

void Restorer::bytes(std::string_view name, std::span<std::uint8_t> value) {
    if (const auto* raw = find(name, value.size())) {
        std::ranges::copy(*raw, value.begin());
    }
}

std::string to_text(const Tree& tree) {
    std::string text;
    for (const auto& [name, raw] : tree) {
        text += name + " = 0x";
        for (auto byte = raw.rbegin(); byte != raw.rend(); ++byte) {
            fmt::format_to(std::back_inserter(text), "{:02x}", *byte);
        }
        text += '\n';
    }
    return text;
}

}  // namespace cupule::snapshot
