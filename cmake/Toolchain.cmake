# Compilers, warnings, sanitizers and the libraries that come from Debian: one interface target for all.

# Paths are hashed relative to the source tree, so that every clone and work tree shares the cache. The sloppiness is what
# ccache asks for with a precompiled header: no source has a time in it.
find_program(CUPULE_CCACHE ccache)
if(CUPULE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros ${CUPULE_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

add_library(cupule_options INTERFACE)
target_include_directories(cupule_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(cupule_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wcast-align
  -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Wvla -Wundef -Werror
  -fno-omit-frame-pointer)
target_compile_definitions(cupule_options INTERFACE _FILE_OFFSET_BITS=64)

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(cupule_options INTERFACE
    -Wthread-safety -Wthread-safety-beta -Wextra-semi -Wunreachable-code -Wnewline-eof
    -Wno-missing-designated-field-initializers)
  add_link_options(-fuse-ld=lld)
else()
  target_compile_options(cupule_options INTERFACE -Wduplicated-cond -Wlogical-op)
endif()

if(CUPULE_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(CUPULE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(NOT CUPULE_SANITIZE STREQUAL "")
  message(FATAL_ERROR "CUPULE_SANITIZE is '${CUPULE_SANITIZE}': it takes 'address', 'thread' or nothing")
endif()
if(CUPULE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_package(fmt 9 REQUIRED)
find_package(Threads REQUIRED)

# Core code: no exceptions. Format strings are checked by the compiler, so fmt has nothing to throw.
add_library(cupule_core_options INTERFACE)
# The part of fmt that is not templates is a library of our own, by the compiler at hand: half the compile time of
# fmt's header-only form (with sanitizers less than half), and no shared library to load at each start.
add_library(cupule_fmt STATIC ${CMAKE_SOURCE_DIR}/src/base/fmt_implementation.cc)
target_include_directories(cupule_fmt SYSTEM PUBLIC $<TARGET_PROPERTY:fmt::fmt,INTERFACE_INCLUDE_DIRECTORIES>)
target_compile_options(cupule_fmt PRIVATE -fno-exceptions)
target_compile_definitions(cupule_fmt PRIVATE FMT_EXCEPTIONS=0)
target_link_libraries(cupule_core_options INTERFACE cupule_options cupule_fmt Threads::Threads)
target_compile_options(cupule_core_options INTERFACE -fno-exceptions)
target_compile_definitions(cupule_core_options INTERFACE FMT_EXCEPTIONS=0)
