#include "backend/net_options.h"

#include <arpa/inet.h>
#include <md5.h>
#include <net/if.h>

#include <algorithm>

#include "backend/rate_text.h"
#include "base/text.h"

namespace cupule::backend {
namespace {

constexpr std::string_view back_ends =
    "user, tap=NAME, unix=PATH, unix-client=PATH, vhost-user=PATH, loop";
constexpr std::string_view words =
    "mac=MAC, mac_seed=TEXT, mtu=N, queues=N, iothread[=N[@CPU...]], vhost, bps=RATE[/BURST], "
    "pps=RATE[/BURST], transitional, legacy; with user: hostfwd=RULE, restrict, no_host_loopback";

base::Result<std::uint16_t> ranged(std::string_view name, std::string_view text,
                                   std::uint16_t least, std::uint16_t most) {
    const auto value = base::to_number<std::uint16_t>(text);
    if (!value || *value < least || *value > most) {
        return base::fail("{}={} is not a number from {} to {}", name, text, least, most);
    }
    return *value;
}

base::Result<MacAddress> parse_mac(std::string_view text) {
    MacAddress mac{};
    std::string_view rest = text;
    bool good = std::ranges::count(text, ':') == 5;
    for (std::uint8_t& byte : mac) {
        const std::string_view part = base::take_word(rest, ':');
        const auto value = base::to_number<std::uint8_t>(part, 16);
        good = good && part.size() <= 2 && value;
        byte = value.value_or(0);
    }
    if (!good) {
        return base::fail("mac={} is not an address; write six bytes, as in 00:16:3e:00:00:01",
                          text);
    }
    if ((mac[0] & 1) != 0 || mac == MacAddress{}) {
        return base::fail("mac={} is a group's address or zero; the first byte must be even", text);
    }
    return mac;
}

/// "ADDRESS:PORT" or ":PORT".
bool read_endpoint(std::string_view text, std::uint32_t& address, std::uint16_t& port) {
    const auto [place, number] = base::cut(text, ':');
    port = base::to_number<std::uint16_t>(number).value_or(0);
    if (port == 0) {
        return false;
    }
    in_addr parsed{};
    const std::string figures(place);
    if (!figures.empty()) {
        if (inet_pton(AF_INET, figures.c_str(), &parsed) != 1) {
            return false;
        }
        address = parsed.s_addr;
    }
    return true;
}

base::Result<HostForward> parse_forward(std::string_view text) {
    HostForward forward{.host_address = htonl(INADDR_LOOPBACK)};
    std::string_view rest = text;
    const std::string_view protocol = base::take_word(rest, ':');
    const std::string_view host = base::take_word(rest, '-');
    forward.udp = protocol == "udp";
    if ((!forward.udp && protocol != "tcp") ||
        !read_endpoint(host, forward.host_address, forward.host_port) ||
        !read_endpoint(rest, forward.guest_address, forward.guest_port)) {
        return base::fail(
            "hostfwd={} is not a rule; write (tcp|udp):[ADDRESS]:PORT-[ADDRESS]:PORT, as in "
            "tcp::2222-:22",
            text);
    }
    return forward;
}

base::Result<NetOptions> parse_back_end(std::string_view word) {
    std::string_view value = word;
    const bool has_value = word.find('=') != std::string_view::npos;
    const std::string_view key = base::take_word(value, '=');
    if (word == "user" || word == "loop") {
        return NetOptions{.kind = word == "user" ? NetKind::user : NetKind::loop};
    }
    constexpr std::pair<std::string_view, NetKind> socket_kinds[] = {
        {"unix", NetKind::unix_server},
        {"unix-client", NetKind::unix_client},
        {"vhost-user", NetKind::vhost_user}};
    for (const auto& [name, kind] : socket_kinds) {
        if (has_value && key == name && value.empty()) {
            return base::fail("{}= lacks the path of a socket", key);
        }
        if (has_value && key == name) {
            return NetOptions{.kind = kind, .name = std::string(value)};
        }
    }
    if (word.empty() || (has_value && key != "tap")) {
        return base::fail("'{}' is not a network back end; there are: {}", word, back_ends);
    }
    const std::string_view name = has_value ? value : word;
    if (name.empty() || name.size() >= IFNAMSIZ || name.find('/') != std::string_view::npos) {
        return base::fail("'{}' is not the name of a tap: 1 to {} characters without '/'", name,
                          IFNAMSIZ - 1);
    }
    return NetOptions{.kind = NetKind::tap, .name = std::string(name)};
}

base::Result<void> parse_user_word(std::string_view word, std::string_view key,
                                   std::string_view value, NetOptions& options) {
    if (options.kind == NetKind::user && key == "hostfwd") {
        CUPULE_TRY_ASSIGN(const HostForward forward, parse_forward(value));
        options.slirp.forwards.push_back(forward);
    } else if (options.kind == NetKind::user && word == "restrict") {
        options.slirp.restricted = true;
    } else if (options.kind == NetKind::user && word == "no_host_loopback") {
        options.slirp.host_loopback = false;
    } else {
        return base::fail("the option '{}' is not known here; there are: {}", word, words);
    }
    return {};
}

base::Result<void> parse_word(std::string_view word, NetOptions& options) {
    std::string_view value = word;
    const std::string_view key = base::take_word(value, '=');
    if (is_worker_word(word)) {
        CUPULE_TRY_ASSIGN(options.workers, parse_workers(word));
    } else if (key == "mac") {
        CUPULE_TRY_ASSIGN(options.mac, parse_mac(value));
    } else if (key == "mac_seed") {
        options.mac_seed = value;
    } else if (key == "mtu") {
        // 68: the least that IPv4 allows (RFC 791), and Virtio 1.3, 5.1.4.1.
        CUPULE_TRY_ASSIGN(options.mtu, ranged(key, value, 68, 65'535));
    } else if (key == "queues") {
        CUPULE_TRY_ASSIGN(options.queues, ranged(key, value, 1, net_queues_max));
        if (options.queues > 1 && options.kind != NetKind::tap &&
            options.kind != NetKind::vhost_user) {
            return base::fail("queues={}: only tap and vhost-user have more than one", value);
        }
    } else if (key == "bps") {
        return parse_rate(key, value, options.limit.bytes_per_s, options.limit.bytes_burst);
    } else if (key == "pps") {
        return parse_rate(key, value, options.limit.operations_per_s,
                          options.limit.operations_burst);
    } else if (word == "vhost") {
        if (options.kind != NetKind::tap) {
            return base::fail("vhost needs a tap; there is: tap=NAME,vhost");
        }
        options.vhost = true;
    } else {
        return parse_user_word(word, key, value, options);
    }
    return {};
}

}  // namespace

base::Result<NetOptions> parse_net_options(std::string_view text) {
    std::string_view rest = text;
    CUPULE_TRY_ASSIGN(NetOptions options, parse_back_end(base::take_word(rest, ',')));
    while (!rest.empty()) {
        CUPULE_TRY(parse_word(base::take_word(rest, ','), options));
    }
    if (options.limit.limits() && options.vhost) {
        return base::fail("bps= and pps= are for cards without vhost: the kernel moves its frames");
    }
    if (options.limit.limits() && options.kind == NetKind::vhost_user) {
        return base::fail("bps= and pps= are for the program behind vhost-user={}", options.name);
    }
    if (!options.workers.empty() && (options.vhost || options.kind == NetKind::vhost_user)) {
        return base::fail("iothread is for cards that this program serves: leave out {}",
                          options.vhost ? "vhost or iothread" : "it with vhost-user");
    }
    if (options.workers.size() > options.queues) {
        return base::fail("iothread={}: there are {} pairs of queues for so many threads",
                          options.workers.size(), options.queues);
    }
    if (options.vhost && options.queues > 1) {
        return base::fail("vhost has one queue pair here: leave out vhost or queues={}",
                          options.queues);
    }
    return options;
}

MacAddress generated_mac(unsigned slot, unsigned function, std::string_view seed) {
    const std::string text = seed.empty() ? fmt::format("{}-{}", slot, function)
                                          : fmt::format("{}-{}-{}", slot, function, seed);
    MD5_CTX context;
    std::array<std::uint8_t, MD5_DIGEST_LENGTH> digest{};
    MD5Init(&context);
    MD5Update(&context, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
    MD5Final(digest.data(), &context);
    return {0x00, 0x16, 0x3E, digest[0], digest[1], digest[2]};
}

}  // namespace cupule::backend
