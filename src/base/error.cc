#include "base/error.h"

#include <array>
#include <cstring>

namespace cupule::base {

std::string errno_text(int code) {
    std::array<char, 128> buffer{};
    return strerror_r(code, buffer.data(), buffer.size());
}

}  // namespace cupule::base
