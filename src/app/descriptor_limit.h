#pragma once

namespace cupule::app {

/// Lets this process and its helpers open as many files as they may: the soft limit becomes the
/// hard one (getrlimit(2), RLIMIT_NOFILE). Shells set the soft one for programs that use select(2);
/// here each interrupt vector of a device takes a descriptor, of which there may be thousands.
void raise_descriptor_limit();

}  // namespace cupule::app
