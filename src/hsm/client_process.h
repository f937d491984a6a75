#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace cupule::hsm {

/// A range of a client's memory, mapped here too: the same pages, no copy.
class SharedRange {
  public:
    /// Takes over a mapping of `mapped_size` bytes at `mapping`, of which `size` at `data` are the
    /// range.
    SharedRange(std::byte* mapping, std::size_t mapped_size, std::byte* data, std::size_t size)
        : mapping_(mapping), mapped_size_(mapped_size), data_(data), size_(size) {}
    virtual ~SharedRange();
    SharedRange(const SharedRange&) = delete;
    SharedRange& operator=(const SharedRange&) = delete;

    std::byte* data() const { return data_; }
    std::size_t size() const { return size_; }

  private:
    std::byte* mapping_;
    std::size_t mapped_size_;
    std::byte* data_;
    std::size_t size_;
};

/// The process that made a request: its memory and its descriptors. Everything it says is hostile.
/// Any thread.
class ClientProcess {
  public:
    virtual ~ClientProcess() = default;

    /// Copies client memory out, or in; false where not all of it is there.
    [[nodiscard]] virtual bool read(std::uint64_t address, std::span<std::byte> to) const = 0;
    [[nodiscard]] virtual bool write(std::uint64_t address,
                                     std::span<const std::byte> from) const = 0;

    enum class Need : std::uint8_t {
        any,      // the client may shrink the file behind it: this process must not touch it
        lasting,  // the file cannot shrink: safe to touch here
    };
    /// Maps [address, address + size) here; both page-aligned. Fails with EFAULT where the memory
    /// is not shared with a file, and with EPERM where it is not `lasting` though it must be.
    virtual base::Result<std::unique_ptr<SharedRange>> share(std::uint64_t address,
                                                             std::uint64_t size,
                                                             Need need) const = 0;

    /// A descriptor here of the open file behind the client's `fd`; EBADF where there is none.
    virtual base::Result<base::FileDescriptor> take_descriptor(int fd) const = 0;

    /// A handle of the same process for later.
    virtual std::shared_ptr<const ClientProcess> keep() const = 0;

    /// A structure read once.
    template <class T>
    requires std::is_trivially_copyable_v<T> std::optional<T> load(std::uint64_t address)
    const {
        T value{};
        if (!read(address, std::as_writable_bytes(std::span(&value, 1)))) {
            return std::nullopt;
        }
        return value;
    }

    template <class T>
    requires std::is_trivially_copyable_v<T>
    [[nodiscard]] bool store(std::uint64_t address, const T& value) const {
        return write(address, std::as_bytes(std::span(&value, 1)));
    }
};

/// A process of this host by the id of one of its threads, as CUSE names it. Needs the right to
/// trace it (process_vm_readv(2), pidfd_getfd(2)) and to open its map_files (CAP_SYS_ADMIN or
/// CAP_CHECKPOINT_RESTORE, proc(5)).
class LinuxProcess : public ClientProcess {
  public:
    explicit LinuxProcess(pid_t thread) : thread_(thread) {}

    [[nodiscard]] bool read(std::uint64_t address, std::span<std::byte> to) const override;
    [[nodiscard]] bool write(std::uint64_t address, std::span<const std::byte> from) const override;
    base::Result<std::unique_ptr<SharedRange>> share(std::uint64_t address, std::uint64_t size,
                                                     Need need) const override;
    base::Result<base::FileDescriptor> take_descriptor(int fd) const override;
    std::shared_ptr<const ClientProcess> keep() const override;

  private:
    base::Result<pid_t> process() const;

    pid_t thread_;
};

}  // namespace cupule::hsm
