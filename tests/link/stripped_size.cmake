# SPDX-License-Identifier: Apache-2.0
# cmake -D PROGRAM=<file> -D STRIP=<strip> -D BYTES=<number> -P stripped_size.cmake
# Fails when a program is larger than that without its symbols.
cmake_minimum_required(VERSION 3.25)

set(stripped "${PROGRAM}.stripped")
execute_process(COMMAND "${STRIP}" -o "${stripped}" "${PROGRAM}" COMMAND_ERROR_IS_FATAL ANY)
file(SIZE "${stripped}" size)
file(REMOVE "${stripped}")
if(size GREATER BYTES)
  message(FATAL_ERROR "${PROGRAM} has ${size} bytes without symbols, at most ${BYTES} are meant")
endif()
message(STATUS "${size} bytes of at most ${BYTES}")
