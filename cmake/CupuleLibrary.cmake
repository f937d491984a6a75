# cupule_library(NAME SOURCES ... [TESTS ...] [TEST_COST N] [DEPENDS ...] [TEST_DEPENDS ...] [EXCEPTIONS])
#
# One folder of src/ is one library `cupule_NAME` (layers: src/CMakeLists.txt, checked by tools/checks/layers).
# TESTS become one executable `NAME_test`, run by ctest under the label `unit`; TEST_COST as COST of cupule_test.
# DEPENDS names other folders (`base`, `io`) or, with a `::` or `-`, libraries as CMake knows them.

function(cupule_resolve out)
  set(result)
  foreach(item ${ARGN})
    if(item MATCHES "::" OR item MATCHES "^-")
      list(APPEND result ${item})
    else()
      list(APPEND result cupule_${item})
    endif()
  endforeach()
  set(${out} ${result} PARENT_SCOPE)
endfunction()

function(cupule_library name)
  cmake_parse_arguments(ARG "EXCEPTIONS" "TEST_COST" "SOURCES;TESTS;DEPENDS;TEST_DEPENDS" ${ARGN})
  cupule_resolve(depends ${ARG_DEPENDS})
  if(ARG_SOURCES)
    add_library(cupule_${name} STATIC ${ARG_SOURCES})
    set(scope PUBLIC)
  else()
    add_library(cupule_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  if(ARG_EXCEPTIONS)
    target_link_libraries(cupule_${name} ${scope} cupule_options cupule_fmt Threads::Threads ${depends})
  else()
    if(ARG_SOURCES)
      target_link_libraries(cupule_${name} PRIVATE cupule_core_options)
    endif()
    target_link_libraries(cupule_${name} ${scope} ${depends})
    target_include_directories(cupule_${name} ${scope} ${CMAKE_SOURCE_DIR}/src)
  endif()
  # A wrap of unsigned numbers is said to be meant (base::wrapping_add and its like, src/base/bits.h); the asan preset
  # takes every other for a fault. Fuzzers do without: their programs are made of all folders.
  if(ARG_SOURCES AND CUPULE_SANITIZE STREQUAL "address" AND NOT CUPULE_FUZZ)
    target_compile_options(cupule_${name} PRIVATE -fsanitize=unsigned-integer-overflow
      -fsanitize-ignorelist=${CMAKE_SOURCE_DIR}/tools/sanitizer_ignorelist)
  endif()
  if(ARG_TESTS AND CUPULE_TESTS)
    cupule_test(${name}_test COST "${ARG_TEST_COST}" SOURCES ${ARG_TESTS} DEPENDS ${name} ${ARG_TEST_DEPENDS})
  endif()
endfunction()

# cupule_test_options(TARGET): how a test is compiled. Clang does not optimise it, as optimising gtest's macros costs most
# of a build; with sanitizers it comes after a header compiled once (a source that leans on it fails in the other
# presets). What is tested is optimised as ever.
function(cupule_test_options name)
  target_link_libraries(${name} PRIVATE cupule_core_options GTest::gmock GTest::gtest_main)
  # gtest's macros are written in an older style than ours.
  target_compile_options(${name} PRIVATE -Wno-sign-conversion -Wno-conversion -Wno-global-constructors)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    target_compile_options(${name} PRIVATE -O0)
  endif()
  if(CUPULE_SANITIZE STREQUAL "")
    return()
  endif()
  # Without its time in it, the compiled header is the same each time, for ccache.
  target_compile_options(${name} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
  if(name STREQUAL "cupule_test_headers")
    target_precompile_headers(${name} PRIVATE <gmock/gmock.h> <gtest/gtest.h> <fmt/format.h> <algorithm> <array> <atomic>
      <chrono> <cstdint> <expected> <functional> <map> <memory> <optional> <random> <span> <string> <string_view> <thread>
      <utility> <vector>)
    return()
  endif()
  if(NOT TARGET cupule_test_headers)
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/test_headers.cc CONTENT "")
    add_library(cupule_test_headers OBJECT ${CMAKE_BINARY_DIR}/test_headers.cc)
    cupule_test_options(cupule_test_headers)
  endif()
  target_precompile_headers(${name} REUSE_FROM cupule_test_headers)
endfunction()

# cupule_test(NAME SOURCES ... [DEPENDS ...] [LABEL unit] [COST N]): a GoogleTest executable. The dearest begin first, so
# that none runs alone at the end; N is about its seconds with TSan. The time limit is for what hangs.
function(cupule_test name)
  cmake_parse_arguments(ARG "" "LABEL;COST" "SOURCES;DEPENDS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  cupule_resolve(depends ${ARG_DEPENDS})
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${depends})
  cupule_test_options(${name})
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 1200)
  if(ARG_COST)
    set_tests_properties(${name} PROPERTIES COST ${ARG_COST})
  endif()
endfunction()
