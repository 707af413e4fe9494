# SPDX-License-Identifier: Apache-2.0
# How this project builds its own tests, examples and benchmarks. Not installed; nothing here reaches a host's targets.

# Warnings, for our own code only.
add_library(patchdiff_warnings INTERFACE)
target_compile_options(
  patchdiff_warnings
  INTERFACE $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-Wall -Wextra -Wpedantic -Wconversion -Wshadow>
            $<$<AND:$<BOOL:${PATCHDIFF_WARNINGS_AS_ERRORS}>,$<CXX_COMPILER_ID:GNU,Clang,AppleClang>>:-Werror>)

# What programs write they format with fmt. LibTorch's wheel brings headers of another fmt, which a compiled libfmt would
# clash with: beside it, headers alone.
add_library(patchdiff_fmt INTERFACE)
target_link_libraries(patchdiff_fmt INTERFACE fmt::fmt)
get_target_property(fmt_folder fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
if(patchdiff_torch_FOUND AND EXISTS "${PATCHDIFF_LIBTORCH_ROOT}/include/fmt" AND NOT fmt_folder STREQUAL
                                                                                 "${PATCHDIFF_LIBTORCH_ROOT}/include")
  target_compile_definitions(patchdiff_fmt INTERFACE FMT_HEADER_ONLY=1)
endif()

# A LibTorch file costs 20 s; with this header, made once, 3 s.
if(patchdiff_torch_FOUND AND PATCHDIFF_USE_PCH)
  add_library(patchdiff_torch_pch OBJECT EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/cmake/torch_pch.cpp)
  # The warnings too: -Wpedantic changes a predefined macro, and the header is refused where macros differ.
  target_link_libraries(patchdiff_torch_pch PRIVATE patchdiff::torch patchdiff_warnings)
  set_target_properties(patchdiff_torch_pch PROPERTIES CXX_EXTENSIONS OFF)
  target_precompile_headers(patchdiff_torch_pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake/torch_pch.hpp)
  target_compile_options(patchdiff_torch_pch PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endif()

# g++ looks for memory to free during a twelfth of a LibTorch file's time, and frees 0.1 GB of 1.2.
add_library(patchdiff_quick_compiler INTERFACE)
target_compile_options(patchdiff_quick_compiler INTERFACE $<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-heapsize=2000000>)

# patchdiff_link(NAME [TORCH]): an executable or library of ours over patchdiff, patchdiff::eigen, patchdiff::io and,
# with TORCH, over patchdiff::torch and its precompiled header.
function(patchdiff_link name)
  cmake_parse_arguments(PARSE_ARGV 1 link "TORCH" "" "")
  set_target_properties(${name} PROPERTIES CXX_EXTENSIONS OFF)
  target_link_libraries(${name} PRIVATE patchdiff::patchdiff patchdiff::eigen patchdiff::io patchdiff_fmt patchdiff_warnings)
  if(link_TORCH)
    target_link_libraries(${name} PRIVATE patchdiff::torch)
    if(TARGET patchdiff_torch_pch)
      target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
      target_precompile_headers(${name} REUSE_FROM patchdiff_torch_pch)
    endif()
  endif()
endfunction()

# patchdiff_add_program(NAME [TORCH] SOURCES file... [LIBRARIES target...]): an executable, linked as above, that includes
# what the examples share as "shared/...". One with `eigen` in its name gets a test that it needs no LibTorch at run time.
function(patchdiff_add_program name)
  cmake_parse_arguments(PARSE_ARGV 1 program "TORCH" "" "SOURCES;LIBRARIES")
  add_executable(${name} ${program_SOURCES})
  set(torch)
  if(program_TORCH)
    set(torch TORCH)
  endif()
  patchdiff_link(${name} ${torch})
  target_link_libraries(${name} PRIVATE patchdiff_quick_compiler ${program_LIBRARIES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/examples")
  if(PATCHDIFF_BUILD_TESTING AND name MATCHES "eigen")
    add_test(NAME link.${name} COMMAND ${CMAKE_COMMAND} -D "PROGRAM=$<TARGET_FILE:${name}>" -P
                                       "${PROJECT_SOURCE_DIR}/tests/link/no_libtorch.cmake")
    set_tests_properties(link.${name} PROPERTIES LABELS link TIMEOUT 60)
  endif()
endfunction()
