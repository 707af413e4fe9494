# SPDX-License-Identifier: Apache-2.0
# cmake -D HOST=<project> -D WORK=<build folder> -D GENERATOR=… -D PROGRAMS=<a|b> [-D EXPECTED=<regular expression>]
#       -P consume.cmake -- cache entries...
# Configures, builds and runs a host project; with EXPECTED, its configuration must fail with such a message.
cmake_minimum_required(VERSION 3.25)

include("${CMAKE_CURRENT_LIST_DIR}/../../cmake/patchdiffArguments.cmake")
patchdiff_arguments(arguments)

file(REMOVE_RECURSE "${WORK}")
execute_process(COMMAND "${CMAKE_COMMAND}" -S "${HOST}" -B "${WORK}" -G "${GENERATOR}" ${arguments}
                RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(EXPECTED)
  string(REGEX REPLACE "[ \n]+" " " line "${output}")
  if(status EQUAL 0)
    message(FATAL_ERROR "${HOST} was configured, expected '${EXPECTED}'")
  elseif(NOT line MATCHES "${EXPECTED}")
    message(FATAL_ERROR "expected '${EXPECTED}', but:\n${output}")
  endif()
  return()
elseif(NOT status EQUAL 0)
  message(FATAL_ERROR "${HOST} cannot be configured:\n${output}")
endif()

execute_process(COMMAND "${CMAKE_COMMAND}" --build "${WORK}" --config Release
                RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${HOST} cannot be built:\n${output}")
endif()

string(REPLACE "|" ";" programs "${PROGRAMS}")
foreach(program IN LISTS programs)
  find_program(path NAMES ${program} PATHS "${WORK}" "${WORK}/Release" NO_DEFAULT_PATH NO_CACHE REQUIRED)
  execute_process(COMMAND "${path}" WORKING_DIRECTORY "${WORK}" RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${program} ended with ${status}")
  endif()
  unset(path)
endforeach()
