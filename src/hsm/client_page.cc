#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/bits.h"
#include "hsm/request_slots.h"

namespace cupule::hsm {
namespace {

using hypervisor::acrn::page_size;
using hypervisor::acrn::value_offset;

constexpr std::size_t state_offset = offsetof(acrn_io_request, processed);

std::size_t slot_offset(unsigned vcpu) {
    return vcpu * sizeof(acrn_io_request);
}

/// The client's own page, mapped here.
class MappedPage : public ClientPage {
  public:
    explicit MappedPage(std::unique_ptr<SharedRange> range) : range_(std::move(range)) {}

    void publish(unsigned vcpu, const acrn_io_request& request) override {
        std::memcpy(range_->data() + slot_offset(vcpu), &request, state_offset);
        set_state(vcpu, request.processed);
    }
    void set_state(unsigned vcpu, std::uint32_t state) override {
        word(vcpu).store(state, std::memory_order_release);
    }
    std::uint32_t state(unsigned vcpu) const override {
        return word(vcpu).load(std::memory_order_acquire);
    }
    std::uint64_t answer(unsigned vcpu) const override {
        std::uint64_t value = 0;
        std::memcpy(&value, range_->data() + slot_offset(vcpu) + value_offset, sizeof value);
        return value;
    }

  private:
    std::atomic_ref<std::uint32_t> word(unsigned vcpu) const {
        std::byte* const place = range_->data() + slot_offset(vcpu) + state_offset;
        return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(place));
    }

    std::unique_ptr<SharedRange> range_;
};

/// A page that stays with the client; it is read and written there. A client that is gone has
/// answers of ones.
class RemotePage : public ClientPage {
  public:
    RemotePage(std::shared_ptr<const ClientProcess> process, std::uint64_t address)
        : process_(std::move(process)), address_(address) {}

    void publish(unsigned vcpu, const acrn_io_request& request) override {
        const std::span<const std::byte> bytes = std::as_bytes(std::span(&request, 1));
        const std::uint64_t slot = address_ + slot_offset(vcpu);
        [[maybe_unused]] const bool written = process_->write(slot, bytes.first(state_offset));
        set_state(vcpu, request.processed);
    }
    void set_state(unsigned vcpu, std::uint32_t state) override {
        [[maybe_unused]] const bool written =
            process_->store(address_ + slot_offset(vcpu) + state_offset, state);
    }
    std::uint32_t state(unsigned vcpu) const override {
        return process_->load<std::uint32_t>(address_ + slot_offset(vcpu) + state_offset)
            .value_or(ACRN_IOREQ_STATE_COMPLETE);
    }
    std::uint64_t answer(unsigned vcpu) const override {
        return process_->load<std::uint64_t>(address_ + slot_offset(vcpu) + value_offset)
            .value_or(~std::uint64_t{0});
    }

  private:
    std::shared_ptr<const ClientProcess> process_;
    std::uint64_t address_;
};

}  // namespace

base::Result<std::unique_ptr<ClientPage>> open_client_page(
    const std::shared_ptr<const ClientProcess>& process, std::uint64_t address) {
    if (!base::is_aligned(address, page_size)) {
        return base::fail_errno(EINVAL, "the request page at {:#x} is not aligned", address);
    }
    std::unique_ptr<ClientPage> page;
    if (auto range = process->share(address, page_size, ClientProcess::Need::lasting)) {
        page = std::make_unique<MappedPage>(std::move(*range));
    } else if (process->store(address, std::uint32_t{0})) {
        page = std::make_unique<RemotePage>(process, address);
    } else {
        return base::fail_errno(EFAULT, "there is no writable page at {:#x}", address);
    }
    for (unsigned vcpu = 0; vcpu < hypervisor::acrn::vcpus_max; ++vcpu) {
        page->set_state(vcpu, ACRN_IOREQ_STATE_FREE);
    }
    return page;
}

}  // namespace cupule::hsm
