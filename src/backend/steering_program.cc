#include "backend/steering_program.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "backend/bpf_assembler.h"

namespace cupule::backend {
namespace {

using Register = BpfAssembler::Register;
using Width = BpfAssembler::Width;

/// The value of the program's map.
struct Tables {
    ToeplitzTables toeplitz{};
    std::array<std::uint16_t, ReceiveSteering::table_length_max> pairs{};
};

// What stays in registers from one call to the next.
constexpr Register frame = Register::r6;   // the context that a filter gets
constexpr Register tables = Register::r7;  // the map's value
constexpr Register value = Register::r8;   // a type or protocol, at last the hash
constexpr Register offset = Register::r9;  // of the next header in the frame
// Free ones, and those for arguments.
constexpr Register first = Register::r1;
constexpr Register second = Register::r2;
constexpr Register third = Register::r3;
constexpr Register fourth = Register::r4;
constexpr Register answer = Register::r0;

// Places on the stack.
constexpr std::int16_t input = -40;  // of the hash
constexpr std::int16_t header = -64;

constexpr std::uint32_t version_4 = hash_type::ipv4 | hash_type::tcpv4 | hash_type::udpv4;
constexpr std::uint32_t version_6 = hash_type::ipv6 | hash_type::tcpv6 | hash_type::udpv6;
constexpr int vlan_tags_max = 2;
constexpr int extension_headers_max = 6;
constexpr std::int32_t ipv4_bytes = 20;
constexpr std::int32_t ipv6_bytes = 40;

std::int32_t network_order(unsigned number) {
    return htons(static_cast<std::uint16_t>(number));
}

/// Writes the program for one set of rules: what is not asked for is not in it.
class SteeringWriter {
  public:
    SteeringWriter(const ReceiveSteering& steering, int map) : steering_(steering), map_(map) {}

    std::span<const bpf_insn> write() {
        out_.copy(frame, first);
        out_.load_map_value(tables, map_);
        write_ethernet();
        if (asks(version_4)) {
            write_ipv4();
        }
        if (asks(version_6)) {
            write_ipv6();
        }
        out_.bind(unclassified_);
        out_.set(answer, steering_.unclassified);
        out_.exit();
        return out_.finish();
    }

  private:
    bool asks(std::uint32_t types) const { return (steering_.hash_types & types) != 0; }

    /// Copies `bytes` of the frame from `offset` and `further` on; where it is shorter, `missing`.
    void fetch(std::int16_t place, std::int32_t further, std::int32_t bytes,
               BpfAssembler::Label missing) {
        out_.copy(first, frame);
        out_.copy(second, offset);
        out_.add(second, further);
        out_.copy(third, Register::stack_end);
        out_.add(third, place);
        out_.set(fourth, bytes);
        out_.call(BPF_FUNC_skb_load_bytes);
        out_.jump_unless(answer, 0, missing);
    }
    void from_header(Width width, Register to, std::int16_t at) {
        out_.load(width, to, Register::stack_end, static_cast<std::int16_t>(header + at));
    }

    void write_ethernet() {
        constexpr std::int32_t type_at = 12;
        const auto untagged = out_.label();
        out_.set(offset, type_at);
        fetch(header, 0, 2, unclassified_);
        from_header(Width::half, value, 0);
        for (int tag = 0; tag < vlan_tags_max; ++tag) {
            const auto tagged = out_.label();
            out_.jump_if(value, network_order(ETH_P_8021Q), tagged);
            out_.jump_unless(value, network_order(ETH_P_8021AD), untagged);
            out_.bind(tagged);
            out_.add(offset, 4);
            fetch(header, 0, 2, unclassified_);
            from_header(Width::half, value, 0);
        }
        out_.bind(untagged);
        out_.add(offset, 2);
        if (asks(version_4)) {
            out_.jump_if(value, network_order(ETH_P_IP), ipv4_);
        }
        if (asks(version_6)) {
            out_.jump_if(value, network_order(ETH_P_IPV6), ipv6_);
        }
        out_.jump(unclassified_);
    }

    /// RFC 791, 3.1.
    void write_ipv4() {
        const auto addresses_only = out_.label();
        out_.bind(ipv4_);
        fetch(header, 0, ipv4_bytes, unclassified_);
        from_header(Width::byte, value, 0);
        out_.copy(first, value);
        out_.shift_right(first, 4);
        out_.jump_unless(first, 4, unclassified_);
        out_.bit_and(value, 0xF);
        out_.shift_left(value, 2);
        out_.jump_if_below(value, ipv4_bytes, unclassified_);
        fetch(input, 12, 8, unclassified_);
        if (asks(hash_type::tcpv4 | hash_type::udpv4)) {
            out_.add(offset, value);  // behind the options
            from_header(Width::half, first, 6);
            out_.bit_and(first, network_order(0x3FFF));  // more fragments, or not the first
            out_.jump_unless(first, 0, addresses_only);
            from_header(Width::byte, value, 9);
            write_ports(hash_type::tcpv4, hash_type::udpv4, 8, addresses_only);
        }
        out_.bind(addresses_only);
        write_hash(hash_type::ipv4, 8);
    }

    /// RFC 8200, 3 and 4.
    void write_ipv6() {
        const auto addresses_only = out_.label();
        out_.bind(ipv6_);
        fetch(header, 0, 8, unclassified_);
        from_header(Width::byte, first, 0);
        out_.shift_right(first, 4);
        out_.jump_unless(first, 6, unclassified_);
        from_header(Width::byte, value, 6);
        fetch(input, 8, 32, unclassified_);
        if (asks(hash_type::tcpv6 | hash_type::udpv6)) {
            out_.add(offset, ipv6_bytes);
            skip_extension_headers(addresses_only);
            write_ports(hash_type::tcpv6, hash_type::udpv6, 32, addresses_only);
        }
        out_.bind(addresses_only);
        write_hash(hash_type::ipv6, 32);
    }

    void skip_extension_headers(BpfAssembler::Label addresses_only) {
        const auto end = out_.label();
        for (int i = 0; i < extension_headers_max; ++i) {
            const auto skipped = out_.label();
            for (const int known : {IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS}) {
                out_.jump_if(value, known, skipped);
            }
            out_.jump(end);
            out_.bind(skipped);
            fetch(header, 0, 2, addresses_only);
            from_header(Width::byte, value, 0);
            from_header(Width::byte, first, 1);
            out_.add(first, 1);  // eights of bytes, without the first
            out_.shift_left(first, 3);
            out_.add(offset, first);
        }
        out_.bind(end);
    }

    /// The transport's ports behind the addresses, where it has some that are asked for.
    void write_ports(std::uint32_t tcp, std::uint32_t udp, std::int16_t addresses_bytes,
                     BpfAssembler::Label addresses_only) {
        const auto ports = out_.label();
        if (asks(tcp)) {
            out_.jump_if(value, IPPROTO_TCP, ports);
        }
        if (asks(udp)) {
            out_.jump_if(value, IPPROTO_UDP, ports);
        }
        out_.jump(addresses_only);
        out_.bind(ports);
        fetch(static_cast<std::int16_t>(input + addresses_bytes), 0, 4, addresses_only);
        write_hash(tcp | udp, addresses_bytes + 4);
    }

    /// The end for frames of these types: the pair that the hash of `bytes` of the input chooses.
    void write_hash(std::uint32_t types, int bytes) {
        if (!asks(types)) {
            out_.jump(unclassified_);
            return;
        }
        out_.set(value, 0);
        for (int i = 0; i < bytes; ++i) {
            out_.load(Width::byte, first, Register::stack_end,
                      static_cast<std::int16_t>(input + i));
            out_.shift_left(first, std::countr_zero(sizeof(std::uint32_t)));
            out_.add(first, tables);
            out_.add(first, static_cast<std::int32_t>(sizeof(ToeplitzTables::value_type)) * i);
            out_.load(Width::word, second, first, offsetof(Tables, toeplitz));
            out_.exclusive_or(value, second);
        }
        out_.bit_and(value, static_cast<std::int32_t>(steering_.table.size() - 1));
        out_.shift_left(value, std::countr_zero(sizeof(std::uint16_t)));
        out_.add(value, tables);
        out_.add(value, static_cast<std::int32_t>(offsetof(Tables, pairs)));
        out_.load(Width::half, answer, value, 0);
        out_.exit();
    }

    const ReceiveSteering& steering_;
    const int map_;
    BpfAssembler out_;
    const BpfAssembler::Label ipv4_ = out_.label();
    const BpfAssembler::Label ipv6_ = out_.label();
    const BpfAssembler::Label unclassified_ = out_.label();
};

/// bpf(2), which the C library does not have.
int call_bpf(bpf_cmd command, bpf_attr& attributes) {
    return static_cast<int>(syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

base::Result<base::FileDescriptor> make_map(const Tables& contents) {
    bpf_attr made{};
    made.map_type = BPF_MAP_TYPE_ARRAY;
    made.key_size = sizeof(std::uint32_t);
    made.value_size = sizeof contents;
    made.max_entries = 1;
    base::FileDescriptor map(call_bpf(BPF_MAP_CREATE, made));
    if (!map) {
        return base::fail_errno(errno, "cannot make a map for the steering program");
    }
    const std::uint32_t key = 0;
    bpf_attr filled{};
    filled.map_fd = static_cast<std::uint32_t>(map.get());
    filled.key = reinterpret_cast<std::uintptr_t>(&key);
    filled.value = reinterpret_cast<std::uintptr_t>(&contents);
    if (call_bpf(BPF_MAP_UPDATE_ELEM, filled) < 0) {
        return base::fail_errno(errno, "cannot fill the map of the steering program");
    }
    return map;
}

}  // namespace

base::Result<base::FileDescriptor> load_steering_program(const ReceiveSteering& steering) {
    const auto contents = std::make_unique<Tables>();
    make_toeplitz_tables(steering.key, contents->toeplitz);
    std::ranges::copy(steering.table, contents->pairs.begin());
    CUPULE_TRY_ASSIGN(const base::FileDescriptor map, make_map(*contents));
    SteeringWriter writer(steering, map.get());
    const std::span<const bpf_insn> program = writer.write();
    // No helper that it calls asks for a license.
    constexpr std::string_view license = "BSD";
    bpf_attr loaded{};
    loaded.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    loaded.insn_cnt = static_cast<std::uint32_t>(program.size());
    loaded.insns = reinterpret_cast<std::uintptr_t>(program.data());
    loaded.license = reinterpret_cast<std::uintptr_t>(license.data());
    base::FileDescriptor made(call_bpf(BPF_PROG_LOAD, loaded));
    if (!made) {
        return base::fail_errno(errno, "the kernel refuses the steering program (CAP_BPF)");
    }
    return made;
}

}  // namespace cupule::backend
