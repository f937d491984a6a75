#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "device/platform/virtio_balloon.h"
#include "event/worker.h"
#include "machine/virtio_endpoint.h"
#include "machine/virtio_endpoints.h"

namespace cupule::machine {
namespace {

constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t page_bytes = 4096;

std::uint32_t pages_of(std::uint64_t size_mib) {
    return static_cast<std::uint32_t>(size_mib * mib / page_bytes);
}

std::uint64_t mib_of(std::uint32_t pages) {
    return pages * page_bytes / mib;
}

class BalloonEndpoint : public VirtioEndpoint {
  public:
    explicit BalloonEndpoint(const EndpointContext& context)
        : VirtioEndpoint(context.vm),
          monitor(context.monitor),
          mib_max(context.memory.size() / mib) {}
    ~BalloonEndpoint() override { transport.reset(); }
    std::vector<std::string> statistics(StatisticsDetail detail) const override {
        std::vector<std::string> lines = VirtioEndpoint::statistics(detail);
        lines.push_back(size_text());
        if (const std::string text = balloon->statistics_text(); !text.empty()) {
            lines.push_back(text);
        }
        return lines;
    }
    base::Result<void> inflate(std::uint64_t size_mib) override {
        if (size_mib > mib_max) {
            return base::fail("{} is not a number of MiB from 0 to {}", size_mib, mib_max);
        }
        balloon->set_target(pages_of(size_mib));
        return {};
    }
    std::string size_text() const {
        event::MutexLock lock(monitor);
        return fmt::format("asks for {} MiB, has {} MiB", mib_of(balloon->target_pages()),
                           mib_of(balloon->actual_pages()));
    }

    event::Monitor& monitor;
    const std::uint64_t mib_max;
    std::unique_ptr<event::Worker> worker;
    device::VirtioBalloon* balloon = nullptr;
};

constexpr std::uint64_t statistics_s_max = 3600;

/// `[inflate=MIB][,stats=SECONDS][,no_deflate_on_oom][,no_reporting]`.
base::Result<device::VirtioBalloonSpec> parse(std::string_view text, std::uint64_t memory_bytes) {
    device::VirtioBalloonSpec spec;
    while (!text.empty()) {
        const std::string_view word = base::take_word(text, ',');
        if (word == "no_deflate_on_oom") {
            spec.deflate_on_oom = false;
        } else if (word == "no_reporting") {
            spec.free_page_reporting = false;
        } else if (word.starts_with("inflate=")) {
            const auto value = base::to_number<std::uint64_t>(base::cut(word, '=').second);
            const std::uint64_t most = memory_bytes / mib;
            if (!value || *value > most) {
                return base::fail("{} is not a number of MiB from 0 to {}", word, most);
            }
            spec.target_pages = pages_of(*value);
        } else if (word.starts_with("stats=")) {
            const auto value = base::to_number<std::uint64_t>(base::cut(word, '=').second);
            if (!value || *value < 1 || *value > statistics_s_max) {
                return base::fail("{} is not a number of seconds from 1 to {}", word,
                                  statistics_s_max);
            }
            spec.statistics_period_ns = *value * event::ns_per_s;
        } else {
            return base::fail(
                "the option '{}' is not known; there are: inflate=MIB, stats=SECONDS, "
                "no_deflate_on_oom, no_reporting, transitional, legacy",
                word);
        }
    }
    return spec;
}

/// Whether what is given back is lost to the host all the same (GuestMemory::keep_pages): pinned
/// for devices that are passed through, which come after this one, or by ACRN.
bool pages_will_be_kept(const VmOptions& options) {
    return options.hypervisor == Hypervisor::acrn ||
           std::ranges::find(options.slots, "passthru", &SlotOptions::device) !=
               options.slots.end();
}

}  // namespace

base::Result<std::unique_ptr<Endpoint>> make_virtio_balloon(const SlotOptions& slot,
                                                            const EndpointContext& context) {
    std::string words = slot.options;
    const virtio::PciTransportModel model = take_transport_model(words, true);
    auto spec = parse(words, context.memory.size());
    if (!spec) {
        return std::unexpected(spec.error().in(place_of(slot)));
    }
    if (pages_will_be_kept(context.options)) {
        spec->free_page_reporting = false;
    }
    auto endpoint = std::make_unique<BalloonEndpoint>(context);
    // The host shows 15 bytes: "balloon 31:7".
    CUPULE_TRY_ASSIGN(endpoint->worker, event::Worker::create(fmt::format(
                                            "balloon {}:{}", slot.slot, slot.function)));
    auto balloon =
        std::make_unique<device::VirtioBalloon>(*spec, context.memory, *endpoint->worker);
    endpoint->balloon = balloon.get();
    CUPULE_TRY(endpoint->connect(std::move(balloon), context, model));
    return endpoint;
}

}  // namespace cupule::machine
