#include "app/descriptor_limit.h"

#include <sys/resource.h>

namespace cupule::app {

void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        // A refusal leaves what there was.
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

}  // namespace cupule::app
