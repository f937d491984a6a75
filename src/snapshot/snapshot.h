#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "snapshot/visitor.h"

namespace cupule::snapshot {

/// The saved state of devices: "rtc/alarm_hour" -> bytes, integers little-endian.
using Tree = std::map<std::string, std::vector<std::uint8_t>>;

/// Reads a device into a tree.
class Saver : public Visitor {
  public:
    void begin(std::string_view group) override;
    void end() override;
    void integer(std::string_view name, std::uint64_t& value, unsigned size) override;
    void bytes(std::string_view name, std::span<std::uint8_t> value) override;
    Tree take() { return std::move(tree_); }

  private:
    Tree tree_;
    std::vector<std::string> path_;
};

/// Writes a tree into a device. A field that is missing or of another size keeps the device's value
/// and is named in `problems`.
class Restorer : public Visitor {
  public:
    explicit Restorer(const Tree& tree) : tree_(tree) {}
    void begin(std::string_view group) override;
    void end() override;
    bool restoring() const override { return true; }
    void integer(std::string_view name, std::uint64_t& value, unsigned size) override;
    void bytes(std::string_view name, std::span<std::uint8_t> value) override;
    const std::vector<std::string>& problems() const { return problems_; }

  private:
    const std::vector<std::uint8_t>* find(std::string_view name, std::size_t size);
    const Tree& tree_;
    std::vector<std::string> path_;
    std::vector<std::string> problems_;
};

/// The debugger's view: one "path = 0x..." line a field.
std::string to_text(const Tree& tree);

}  // namespace cupule::snapshot
