# SPDX-License-Identifier: Apache-2.0
# cmake -D PROGRAM=<file> -P no_libtorch.cmake
# Fails when a program needs LibTorch at run time, itself or through one of its libraries.
cmake_minimum_required(VERSION 3.25)

file(GET_RUNTIME_DEPENDENCIES EXECUTABLES "${PROGRAM}" RESOLVED_DEPENDENCIES_VAR libraries
     UNRESOLVED_DEPENDENCIES_VAR missing)
if(NOT "${libraries}" MATCHES "libc\\.so|libSystem")
  message(FATAL_ERROR "the libraries of ${PROGRAM} cannot be read, got: ${libraries} ${missing}")
endif()
foreach(library IN LISTS libraries missing)
  if(library MATCHES "libtorch|libc10|caffe2")
    message(SEND_ERROR "${PROGRAM} needs ${library}")
  endif()
endforeach()
