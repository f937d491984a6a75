#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace cupule::base {

void assertion_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "cupule: internal error: %s:%d: '%s' does not hold\n", file, line,
                 expression);
    std::fflush(stderr);
    std::abort();
}

}  // namespace cupule::base
