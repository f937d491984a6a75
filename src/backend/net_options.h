#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/net_port.h"
#include "backend/rate_limiter.h"
#include "backend/slirp_port.h"
#include "backend/worker_word.h"
#include "base/error.h"
#include "event/worker.h"

namespace cupule::backend {

using MacAddress = std::array<std::uint8_t, 6>;

enum class NetKind : std::uint8_t {
    user,         // "user"
    tap,          // "tap=NAME", or NAME alone as acrn-dm's older grammar has it
    unix_server,  // "unix=PATH": a hub for any number of clients
    unix_client,  // "unix-client=PATH"
    loop,         // "loop": every frame comes back
    vhost_user,   // "vhost-user=PATH": another process is the device's other half; no port
};

/// A network card's options: a back end, then what it is to be.
struct NetOptions {
    NetKind kind = NetKind::user;
    /// The interface's name or the socket's path.
    std::string name{};
    SlirpOptions slirp{};
    std::optional<MacAddress> mac{};
    std::string mac_seed{};
    /// 0: not told to the guest.
    std::uint16_t mtu = 0;
    /// Queue pairs; only a tap and a vhost-user back end have more than one.
    std::uint16_t queues = 1;
    /// For each direction by itself; `operations` are frames.
    RateLimit limit{};
    /// Frames pass through the kernel alone (vhost-net).
    bool vhost = false;
    /// The threads that serve the pairs, in turn; empty: one for each pair.
    WorkerCpus workers{};

    bool operator==(const NetOptions&) const = default;
};

inline constexpr std::uint16_t net_queues_max = 16;

/// Reads `BACKEND[,mac=MAC][,mac_seed=TEXT][,mtu=N][,queues=N][,iothread[=...]][,vhost]
/// [,bps=RATE[/BURST]][,pps=RATE[/BURST]]` and for `user` also
/// `[,hostfwd=(tcp|udp):[ADDRESS]:PORT-[ADDRESS]:PORT]...[,restrict][,no_host_loopback]`. An
/// empty host address is 127.0.0.1, an empty guest address the one that DHCP gives. Touches
/// nothing; the error names the word and what there is.
base::Result<NetOptions> parse_net_options(std::string_view text);

/// acrn-dm's address for a card without `mac=`: 00:16:3E and the first bytes of MD5 over
/// "SLOT-FUNCTION-SEED", or "SLOT-FUNCTION" where the seed is empty.
MacAddress generated_mac(unsigned slot, unsigned function, std::string_view seed);

/// Opens the back end: one port for each pair, `options.queues` of them, port i on the thread of
/// worker i, where it must be destroyed too. Workers may stand there more than once.
base::Result<std::vector<std::unique_ptr<NetPort>>> open_net_ports(
    const NetOptions& options, std::span<event::Worker* const> workers);

}  // namespace cupule::backend
