#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

namespace cupule::boot::testing {

/// A file with this content, gone when the test ends.
class TemporaryFile {
  public:
    explicit TemporaryFile(std::span<const std::byte> content)
        : path_(::testing::TempDir() + "cupule_boot_XXXXXX") {
        const int fd = mkstemp(path_.data());
        EXPECT_EQ(::write(fd, content.data(), content.size()),
                  static_cast<ssize_t>(content.size()));
        ::close(fd);
    }
    explicit TemporaryFile(std::string_view content)
        : TemporaryFile(std::as_bytes(std::span(content))) {}
    ~TemporaryFile() { ::unlink(path_.c_str()); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

}  // namespace cupule::boot::testing
