#include "app/version.h"

#include <fmt/core.h>

// CUPULE_VERSION, CUPULE_COMMIT, CUPULE_TREE, CUPULE_COMMIT_DATE: made by cmake/GitVersion.cmake.
#include "git_version.h"

namespace cupule::app {

std::string version_text() {
    return fmt::format("cupule {} ({}, {}, {})", CUPULE_VERSION, CUPULE_COMMIT, CUPULE_TREE,
                       CUPULE_COMMIT_DATE);
}

std::string acrn_version_text() {
    return fmt::format("DM: {}-{}-{} build by cupule@{}", CUPULE_VERSION, CUPULE_COMMIT,
                       CUPULE_TREE, CUPULE_COMMIT_DATE);
}

}  // namespace cupule::app
