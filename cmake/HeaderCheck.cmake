# Every header compiles alone: one generated source a header, compiled and thrown away. A build step, so
# that a header that leans on its includer breaks the build.
file(GLOB_RECURSE headers RELATIVE ${CMAKE_SOURCE_DIR}/src CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/*.h)
set(sources)
foreach(header ${headers})
  set(source ${CMAKE_BINARY_DIR}/header_check/${header}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${header}\"\n#include \"${header}\"\n")
  list(APPEND sources ${source})
endforeach()
add_library(header_check OBJECT ${sources})
target_link_libraries(header_check PRIVATE cupule_core_options)
# Headers of tests and of folders that use throwing libraries see gtest and exceptions.
target_compile_options(header_check PRIVATE -O0 -g0 -fexceptions)
