#pragma once

#include <string>

namespace cupule::app {

/// "cupule 0.1.0 (1a2b3c4d, clean, 2026-11-22)".
std::string version_text();

/// The same in acrn-dm's form: "DM: 0.1.0-1a2b3c4d-clean build by cupule@2026-11-22".
std::string acrn_version_text();

}  // namespace cupule::app
