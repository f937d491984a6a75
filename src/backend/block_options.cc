#include <algorithm>
#include <array>
#include <optional>

#include "backend/block_store.h"
#include "backend/rate_text.h"
#include "backend/worker_word.h"
#include "base/bits.h"
#include "base/text.h"

namespace cupule::backend {
namespace {

constexpr std::uint32_t logical_min = 512;
constexpr std::uint32_t logical_max = 4096;
constexpr std::uint32_t physical_max = 64 << 10;
constexpr std::uint64_t range_sector = 512;
constexpr std::size_t serial_max = 20;
constexpr unsigned queues_max = 64;

base::Result<void> set_sectors(BlockOptions& options, std::string_view text) {
    const auto slash = text.find('/');
    const auto logical = base::to_number<std::uint32_t>(text.substr(0, slash));
    const auto physical =
        slash == text.npos ? logical : base::to_number<std::uint32_t>(text.substr(slash + 1));
    const bool good = logical && physical && base::is_power_of_two(*logical) &&
                      base::is_power_of_two(*physical) && *logical >= logical_min &&
                      *logical <= logical_max && *physical >= *logical && *physical <= physical_max;
    if (!good) {
        return base::fail(
            "sectorsize={}: wants LOGICAL[/PHYSICAL], powers of two, 512 to 4096 and up to 65536",
            text);
    }
    options.logical_sector = *logical;
    options.physical_sector = *physical;
    return {};
}

base::Result<void> set_range(BlockOptions& options, std::string_view text) {
    const auto slash = text.find('/');
    const auto start = base::to_number<std::uint64_t>(text.substr(0, slash));
    const auto size =
        slash == text.npos ? std::nullopt : base::to_number<std::uint64_t>(text.substr(slash + 1));
    constexpr std::uint64_t sectors_max = ~std::uint64_t{0} / range_sector / 2;
    if (!start || !size || *size == 0 || *start > sectors_max || *size > sectors_max) {
        return base::fail("range={}: wants START/SIZE in sectors of 512 bytes, a size above 0",
                          text);
    }
    options.range_start = *start * range_sector;
    options.range_bytes = *size * range_sector;
    return {};
}

base::Result<void> set_discard(BlockOptions& options, std::string_view text) {
    std::string_view rest = text;
    const auto sectors = base::to_number<std::uint32_t>(base::take_word(rest, ':'));
    const auto segments = base::to_number<std::uint32_t>(base::take_word(rest, ':'));
    const auto alignment = base::to_number<std::uint32_t>(rest);
    if (!sectors || !segments || !alignment || *sectors == 0 || *segments == 0 || *alignment == 0) {
        return base::fail(
            "discard={}: wants SECTORS:SEGMENTS:ALIGNMENT, the most that one discard may ask for, "
            "sectors of 512 bytes, all above 0",
            text);
    }
    options.discard = true;
    options.discard_sectors_max = *sectors;
    options.discard_segments_max = *segments;
    options.discard_alignment = *alignment;
    return {};
}

base::Result<void> set_aio(BlockOptions& options, std::string_view text) {
    if (text != "threads" && text != "io_uring") {
        return base::fail("aio={}: there are threads and io_uring", text);
    }
    options.aio = text == "threads" ? BlockAio::threads : BlockAio::io_uring;
    return {};
}

base::Result<void> set_serial(BlockOptions& options, std::string_view text) {
    if (text.empty() || text.size() > serial_max) {
        return base::fail("serial={}: wants 1 to {} bytes", text, serial_max);
    }
    options.serial = text;
    return {};
}

struct Word {
    std::string_view name;
    void (*apply)(BlockOptions&);
};

constexpr auto words = std::to_array<Word>({
    {"ro", [](BlockOptions& options) { options.read_only = true; }},
    {"writeback", [](BlockOptions& options) { options.write_through = false; }},
    {"writethru", [](BlockOptions& options) { options.write_through = true; }},
    {"nocache", [](BlockOptions& options) { options.direct = true; }},
    {"discard", [](BlockOptions& options) { options.discard = true; }},
    {"pinned", [](BlockOptions& options) { options.pinned = true; }},
    // Chooses between two loops of acrn-dm.
    {"no_bst_block", [](BlockOptions&) {}},
});

struct Setting {
    std::string_view name;
    base::Result<void> (*apply)(BlockOptions&, std::string_view);
};

constexpr auto settings = std::to_array<Setting>({
    {"sectorsize", set_sectors},
    {"range", set_range},
    {"discard", set_discard},
    {"aio", set_aio},
    {"serial", set_serial},
    {"bps",
     [](BlockOptions& options, std::string_view text) {
         return parse_rate("bps", text, options.limit.bytes_per_s, options.limit.bytes_burst);
     }},
    {"iops",
     [](BlockOptions& options, std::string_view text) {
         return parse_rate("iops", text, options.limit.operations_per_s,
                           options.limit.operations_burst);
     }},
});

base::Result<void> set_option(BlockOptions& options, std::string_view text) {
    const auto equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    if (equals != text.npos) {
        const auto found = std::ranges::find(settings, name, &Setting::name);
        if (found != settings.end()) {
            return found->apply(options, text.substr(equals + 1));
        }
    } else if (const auto found = std::ranges::find(words, name, &Word::name);
               found != words.end()) {
        found->apply(options);
        return {};
    }
    return base::fail(
        "unknown disk option '{}'; there are ro, writeback, writethru, nocache, "
        "discard[=SECTORS:SEGMENTS:ALIGNMENT], sectorsize=LOGICAL[/PHYSICAL], range=START/SIZE, "
        "aio=threads|io_uring, pinned, serial=TEXT, bps=RATE[/BURST], iops=RATE[/BURST]; iothread "
        "and mq=N stand before the path",
        text);
}

/// Takes a word that stands before the path; false when `text` begins with none.
base::Result<bool> take_front_word(BlockOptions& options, std::string_view& text) {
    constexpr std::string_view mq = "mq=";
    std::string_view rest = text;
    const std::string_view word = base::take_word(rest, ',');
    if (is_worker_word(word)) {
        CUPULE_TRY_ASSIGN(options.workers, parse_workers(word));
    } else if (word.starts_with(mq)) {
        const auto queues = base::to_number<unsigned>(word.substr(mq.size()));
        if (!queues || *queues == 0 || *queues > queues_max) {
            return base::fail("{}: wants 1 to {} queues", word, queues_max);
        }
        options.queues = *queues;
    } else {
        return false;
    }
    text = rest;
    return true;
}

}  // namespace

base::Result<BlockOptions> parse_block_options(std::string_view text) {
    BlockOptions options;
    for (bool more = true; more;) {
        CUPULE_TRY_ASSIGN(more, take_front_word(options, text));
    }
    const auto comma = text.find(',');
    options.path = text.substr(0, comma);
    if (options.path.empty()) {
        return base::fail("a disk needs the path of its image, or nodisk: PATH[,OPTION...]");
    }
    if (options.path == "nodisk") {
        options.path.clear();
    }
    while (text.find(',') != text.npos) {
        text.remove_prefix(text.find(',') + 1);
        CUPULE_TRY(set_option(options, text.substr(0, text.find(','))));
    }
    if (options.pinned && options.aio == BlockAio::threads) {
        return base::fail("pinned is of use to io_uring only: leave it or aio=threads out");
    }
    return options;
}

}  // namespace cupule::backend
