#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "control/client_server.h"
#include "control/commands.h"

// The messages between acrnctl or acrnd and a device model (ACRN 3.3, misc/services/acrn_manager:
// struct mngr_msg): 280 bytes, numbers in the host's order, one answer for each request.
namespace cupule::control {

enum class ManagerCommand : std::uint32_t {
    stop = 3,
    suspend = 4,
    resume = 5,
    query = 6,
    rescan_disk = 7,
};

struct ManagerMessage {
    static constexpr std::size_t bytes = 280;
    static constexpr std::size_t payload_bytes = 256;
    static constexpr std::uint64_t magic = 0x6773'6D20'6D6D'76;

    std::uint32_t id = 0;
    /// The client's, repeated in the answer.
    std::uint64_t timestamp = 0;
    std::array<std::byte, payload_bytes> payload{};

    /// Nothing where the magic number is wrong or a byte is missing. Bytes behind are left alone.
    static std::optional<ManagerMessage> decode(std::span<const std::byte> message);
    std::string encode() const;

    /// The payload's first number, and the payload as text up to its first NUL.
    std::int32_t number() const;
    void set_number(std::int32_t value);
    std::string text() const;
};

/// Serves messages. What is no message, and what nobody knows, gets no answer but a log line, one
/// for each client.
class ManagerSession : public ClientSession {
  public:
    explicit ManagerSession(Commands& commands) : commands_(commands) {}
    std::string receive(std::span<const std::byte> bytes) override;
    /// Messages and bytes that were ignored.
    std::uint64_t ignored() const { return ignored_; }

  private:
    std::optional<ManagerMessage> answer(const ManagerMessage& request);
    void ignore(std::string_view what);

    Commands& commands_;
    std::uint64_t ignored_ = 0;
};

}  // namespace cupule::control
