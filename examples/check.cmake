# SPDX-License-Identifier: Apache-2.0
# cmake -D PROGRAM=file -D FOLDER=folder -D EXPECT=regex [-D FILES="name name"] -P check.cmake -- [argument...]
# Runs an example in the folder, made empty: it must end well, say what is expected and leave the files there.
cmake_minimum_required(VERSION 3.25)

include("${CMAKE_CURRENT_LIST_DIR}/../cmake/patchdiffArguments.cmake")
patchdiff_arguments(arguments)

file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
execute_process(COMMAND "${PROGRAM}" ${arguments} WORKING_DIRECTORY "${FOLDER}" RESULT_VARIABLE result
                OUTPUT_VARIABLE output ERROR_VARIABLE output)
message("${output}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} ended with ${result}")
endif()
if(NOT output MATCHES "${EXPECT}")
  message(FATAL_ERROR "${PROGRAM} did not say ${EXPECT}")
endif()
separate_arguments(FILES)
foreach(name IN LISTS FILES)
  if(NOT EXISTS "${FOLDER}/${name}")
    message(FATAL_ERROR "${PROGRAM} did not write ${name}")
  endif()
endforeach()
