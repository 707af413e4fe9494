# SPDX-License-Identifier: Apache-2.0
# cmake -D SOURCE=<file> -D EXPECTED=<regular expression> -D COMMANDS=<compile_commands.json> -D FLAGS_OF=<file> -P run.cmake
# Compiles SOURCE as FLAGS_OF is compiled. Passes when that succeeds, and fails with a matching message once MUST_FAIL
# is defined; a source that does not know MUST_FAIL is wrong as a whole. With -D COMPILER=<path> -D INSTEAD=<path>,
# another compiler is taken.
cmake_minimum_required(VERSION 3.25)

file(READ "${COMMANDS}" commands)
string(JSON count LENGTH "${commands}")
set(command)
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  string(JSON file GET "${commands}" ${i} file)
  if(file STREQUAL FLAGS_OF)
    string(JSON command GET "${commands}" ${i} command)
    string(JSON directory GET "${commands}" ${i} directory)
  endif()
endforeach()
if(NOT command)
  message(FATAL_ERROR "${COMMANDS} has no ${FLAGS_OF}")
endif()
separate_arguments(command NATIVE_COMMAND "${command}")
list(FIND command -o position)
list(REMOVE_AT command ${position})
list(REMOVE_AT command ${position}) # the object file
list(REMOVE_ITEM command -c "${FLAGS_OF}")
list(APPEND command -fsyntax-only "${SOURCE}")
if(INSTEAD)
  list(FIND command "${COMPILER}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "${COMMANDS} does not compile ${FLAGS_OF} with ${COMPILER}")
  endif()
  list(REMOVE_AT command ${position})
  list(INSERT command ${position} "${INSTEAD}")
  list(APPEND command -Wno-unknown-warning-option)
endif()

file(READ "${SOURCE}" text)
if(text MATCHES "MUST_FAIL")
  execute_process(COMMAND ${command} WORKING_DIRECTORY "${directory}" RESULT_VARIABLE status OUTPUT_VARIABLE output
                  ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${SOURCE} must compile without MUST_FAIL, but:\n${output}")
  endif()
endif()

execute_process(COMMAND ${command} -DMUST_FAIL WORKING_DIRECTORY "${directory}" RESULT_VARIABLE status
                OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiles with MUST_FAIL, and must not")
elseif(NOT output MATCHES "${EXPECTED}")
  message(FATAL_ERROR "${SOURCE} fails, but not for the reason '${EXPECTED}':\n${output}")
endif()
