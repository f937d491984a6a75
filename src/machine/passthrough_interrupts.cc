#include "machine/passthrough_interrupts.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/file_descriptor.h"
#include "base/text.h"

namespace cupule::machine {
namespace {

base::Result<std::string> read_whole(const std::string& path) {
    CUPULE_TRY_ASSIGN(const auto file, base::open_file(path, O_RDONLY));
    std::string text;
    std::array<char, 4096> block{};
    for (;;) {
        const ssize_t count = ::read(file.get(), block.data(), block.size());
        if (count < 0) {
            return base::fail_errno(errno, "cannot read '{}'", path);
        }
        if (count == 0) {
            return text;
        }
        text.append(block.data(), static_cast<std::size_t>(count));
    }
}

/// Takes blanks and a number off the front.
std::optional<std::uint64_t> take_number(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    return base::take_number<std::uint64_t>(text);
}

}  // namespace

std::vector<hypervisor::InterruptMonitor::Count> count_vfio_interrupts(
    std::string_view text, const std::vector<std::string>& functions) {
    std::vector<hypervisor::InterruptMonitor::Count> counts;
    while (!text.empty()) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const bool ours = line.find("vfio-") != std::string_view::npos &&
                          std::ranges::any_of(functions, [line](const std::string& function) {
                              return line.find("(" + function + ")") != std::string_view::npos;
                          });
        const auto irq = ours ? take_number(line) : std::nullopt;
        if (!irq || !line.starts_with(':')) {
            continue;
        }
        line.remove_prefix(1);
        std::uint64_t sum = 0;
        for (auto count = take_number(line); count; count = take_number(line)) {
            sum += *count;
        }
        counts.push_back({.source = *irq, .count = sum});
    }
    return counts;
}

base::Result<std::vector<hypervisor::InterruptMonitor::Count>> PassthroughInterrupts::counts() {
    CUPULE_TRY_ASSIGN(const std::string text, read_whole(listing_));
    return count_vfio_interrupts(text, slots_.host_functions());
}

base::Result<void> PassthroughInterrupts::delay(std::uint32_t delay_ms) {
    slots_.hold_interrupts(delay_ms != 0);
    return {};
}

void PassthroughInterrupts::let_through() {
    slots_.let_interrupts_through();
}

}  // namespace cupule::machine
