# SPDX-License-Identifier: Apache-2.0
# cmake -D BUILD=<build folder> -D SOURCE=<repository> -D STAGE=<folder> -P stage.cmake
# Installs, moves the installation to STAGE, and looks for traces of this machine in it.
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE "${STAGE}" "${STAGE}.before")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${STAGE}.before"
                OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${STAGE}.before" "${STAGE}")

file(GLOB_RECURSE files "${STAGE}/*.cmake" "${STAGE}/*.pc")
list(LENGTH files count)
if(count LESS 6)
  message(FATAL_ERROR "only ${count} files for CMake and pkg-config were installed")
endif()
foreach(file IN LISTS files)
  file(READ "${file}" text)
  set(traces "${SOURCE}" "${BUILD}" "${STAGE}" /usr/ /opt/ /home/)
  if(file MATCHES "Targets[^/]*\\.cmake$")
    list(APPEND traces libc10 libtorch_)
  endif()
  foreach(trace IN LISTS traces)
    string(FIND "${text}" "${trace}" position)
    if(NOT position EQUAL -1)
      string(SUBSTRING "${text}" ${position} 80 excerpt)
      message(SEND_ERROR "${file} holds '${trace}': ${excerpt}")
    endif()
  endforeach()
endforeach()

# All headers, in a package without LibTorch too.
file(GLOB_RECURSE headers RELATIVE "${SOURCE}/include" "${SOURCE}/include/*")
foreach(header IN LISTS headers)
  if(NOT EXISTS "${STAGE}/include/${header}")
    message(SEND_ERROR "${header} was not installed")
  endif()
endforeach()
