#include "boot/image_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/bits.h"
#include "boot/boot_layout.h"

namespace cupule::boot {
namespace {

/// For less, a mapping of its own costs more than the copy.
constexpr std::uint64_t shown_size_min = 64 * 1024;

}  // namespace

base::Result<ImageFile> ImageFile::open(const std::string& path, std::uint64_t size_max) {
    ImageFile image;
    image.name_ = path;
    // O_NONBLOCK: a FIFO must not hold us up; it is refused below.
    CUPULE_TRY_ASSIGN(image.file_, base::open_file(path, O_RDONLY | O_NONBLOCK));
    struct stat status {};
    if (fstat(image.file_.get(), &status) < 0) {
        return base::fail_errno(errno, "cannot examine '{}'", path);
    }
    if (!S_ISREG(status.st_mode)) {
        return base::fail("'{}' is not a regular file", path);
    }
    if (status.st_size == 0) {
        return base::fail("'{}' is empty", path);
    }
    image.size_ = static_cast<std::uint64_t>(status.st_size);
    image.modified_ = status.st_mtim;
    if (image.size_ > size_max) {
        return base::fail("'{}' has {} bytes, more than the {} allowed", path, image.size_,
                          size_max);
    }
    return image;
}

ImageFile ImageFile::of_bytes(std::span<const std::byte> bytes, std::string name) {
    ImageFile image;
    image.name_ = std::move(name);
    image.bytes_ = bytes;
    image.size_ = bytes.size();
    return image;
}

bool ImageFile::read(std::uint64_t offset, std::span<std::byte> to) const {
    if (!base::contains(0, size_, offset, to.size())) {
        return false;
    }
    if (file_) {
        return read_file(offset, to).has_value();
    }
    if (!to.empty()) {
        std::memcpy(to.data(), bytes_.data() + offset, to.size());
    }
    return true;
}

base::Result<void> ImageFile::read_file(std::uint64_t offset, std::span<std::byte> to) const {
    while (!to.empty()) {
        const ssize_t got = pread(file_.get(), to.data(), to.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return base::fail_errno(errno, "cannot read '{}' at offset {}", name_, offset);
        }
        if (got == 0) {
            return base::fail("'{}' now ends at offset {}, it had {} bytes when opened", name_,
                              offset, size_);
        }
        to = to.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::uint64_t>(got);
    }
    return {};
}

base::Result<void> ImageFile::copy_to(memory::GuestMemory& memory, memory::GuestAddress address,
                                      std::uint64_t offset, std::uint64_t size) const {
    if (!base::contains(0, size_, offset, size)) {
        return base::fail("'{}' has {} bytes, but {} at offset {} are asked for", name_, size_,
                          size, offset);
    }
    while (size > 0) {
        const auto region =
            std::ranges::find_if(memory.regions(), [address](const memory::RamRegion& candidate) {
                return base::contains(candidate.base.value, candidate.size, address.value, 1);
            });
        if (region == memory.regions().end()) {
            return base::fail("'{}' cannot be loaded at {:#x}: there is no guest RAM", name_,
                              address.value);
        }
        const std::uint64_t into = address.value - region->base.value;
        const std::uint64_t piece = std::min(size, region->size - into);
        CUPULE_TRY(copy_into(memory, address, offset, piece));
        address = address + piece;
        offset += piece;
        size -= piece;
    }
    return {};
}

base::Result<void> ImageFile::copy_into(memory::GuestMemory& memory, memory::GuestAddress address,
                                        std::uint64_t offset, std::uint64_t size) const {
    const std::uint64_t head = base::align_up(offset, memory::page_size) - offset;
    const bool pages_meet = (address.value - offset) % memory::page_size == 0;
    if (!held_ || !pages_meet || size < head + shown_size_min) {
        return copy_bytes(memory, address, offset, size);
    }
    const std::uint64_t pages = base::align_down(size - head, memory::page_size);
    if (!memory.show_file(address + head, file_.get(), offset + head, pages)) {
        return copy_bytes(memory, address, offset, size);
    }
    const std::uint64_t shown_end = head + pages;
    CUPULE_TRY(copy_bytes(memory, address, offset, head));
    return copy_bytes(memory, address + shown_end, offset + shown_end, size - shown_end);
}

base::Result<void> ImageFile::copy_bytes(memory::GuestMemory& memory, memory::GuestAddress address,
                                         std::uint64_t offset, std::uint64_t size) const {
    const std::span<std::byte> to = memory.span(address, size);
    if (!file_) {
        if (!to.empty()) {
            std::memcpy(to.data(), bytes_.data() + offset, to.size());
        }
        return {};
    }
    // What is left where the kernel cannot do it so (huge page files), or the file's error.
    const std::uint64_t received = memory.receive_file(address, file_.get(), offset, size);
    return read_file(offset + received, to.subspan(received));
}

void ImageFile::hold() {
    held_ = held_ || (file_ && fcntl(file_.get(), F_SETLEASE, F_RDLCK) == 0);
}

void ImageFile::release() {
    if (held_) {
        fcntl(file_.get(), F_SETLEASE, F_UNLCK);
        held_ = false;
    }
}

base::Result<void> ImageFile::check_unchanged() const {
    if (!file_) {
        return {};
    }
    struct stat status {};
    if (fstat(file_.get(), &status) < 0) {
        return base::fail_errno(errno, "cannot examine '{}'", name_);
    }
    if (static_cast<std::uint64_t>(status.st_size) != size_ ||
        status.st_mtim.tv_sec != modified_.tv_sec || status.st_mtim.tv_nsec != modified_.tv_nsec) {
        return base::fail(
            "'{}' was rewritten in place after the VM started from it; start the VM again", name_);
    }
    return {};
}

}  // namespace cupule::boot
