# SPDX-License-Identifier: Apache-2.0
# cmake -D PKG_CONFIG=<pkg-config> -D STAGE=<installation> -D CXX=<compiler> -D HOST=<file> -D WORK=<folder>
#       -D VERSION=<project's> -P pkg_config.cmake
# Compiles a host without CMake.
cmake_minimum_required(VERSION 3.25)

set(ENV{PKG_CONFIG_PATH} "${STAGE}/share/pkgconfig")
file(MAKE_DIRECTORY "${WORK}")

execute_process(COMMAND "${PKG_CONFIG}" --modversion patchdiff OUTPUT_VARIABLE version OUTPUT_STRIP_TRAILING_WHITESPACE
                        COMMAND_ERROR_IS_FATAL ANY)
if(NOT version STREQUAL VERSION)
  message(FATAL_ERROR "pkg-config says version ${version}, the project ${VERSION}")
endif()
foreach(kind IN ITEMS cflags libs)
  execute_process(COMMAND "${PKG_CONFIG}" --${kind} patchdiff OUTPUT_VARIABLE ${kind} COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(${kind} UNIX_COMMAND "${${kind}}")
endforeach()
execute_process(COMMAND "${CXX}" -std=c++20 ${cflags} "${HOST}" -o "${WORK}/pkg_config_host" ${libs}
                        COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${WORK}/pkg_config_host" COMMAND_ERROR_IS_FATAL ANY)
