#pragma once

#include <linux/acrn.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "io/io_request.h"

namespace cupule::hypervisor::acrn {

/// The page of 16 request slots that a VM's client shares with the HSM, one slot for each vCPU. The
/// HSM owns a slot in FREE and COMPLETE, the client one that is PROCESSING and not kernel_handled.
/// Any thread, one at a time for each slot.
class RequestPage {
  public:
    /// A page of shared memory that cannot shrink, so that `cupule hsm` can map it and need not
    /// copy. An HSM in the kernel pins it like any other.
    static base::Result<std::unique_ptr<RequestPage>> create();
    ~RequestPage();
    RequestPage(const RequestPage&) = delete;
    RequestPage& operator=(const RequestPage&) = delete;

    std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(page_); }

    /// Whether the slot has a request for this client.
    bool is_ours(unsigned vcpu) const;
    /// A copy of the slot's request; empty when the HSM wrote a kind or size that it has not.
    std::optional<io::IoRequest> read(unsigned vcpu) const;
    /// Writes the answer of a slot that is PROCESSING.
    void answer(unsigned vcpu, std::uint64_t value);
    /// Sets the slot COMPLETE, as NOTIFY does too. Not for a VM that polls: it could have its next
    /// request there when NOTIFY comes, which would complete that one.
    void complete(unsigned vcpu);

  private:
    RequestPage(base::FileDescriptor file, acrn_io_request_buffer* page);

    base::FileDescriptor file_;
    acrn_io_request_buffer* page_;
};

}  // namespace cupule::hypervisor::acrn
