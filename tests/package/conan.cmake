# SPDX-License-Identifier: Apache-2.0
# cmake -D CONAN=<conan> -D WORK=<folder> -D SOURCE=<repository> -D CXX=<compiler> -D TORCH=<whether it is there>
#       -D CLI=<whether the program too> -D VERSION=<project's> -P conan.cmake
# Conan builds the package and tests it, without a remote: what it needs is the system's.
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")
set(ENV{CONAN_HOME} "${WORK}/home")
set(ENV{CXX} "${CXX}")
set(recipe "${SOURCE}/packaging/conan")

function(conan result)
  execute_process(COMMAND "${CONAN}" ${ARGN} WORKING_DIRECTORY "${WORK}" RESULT_VARIABLE status OUTPUT_VARIABLE output
                  ERROR_VARIABLE log)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " arguments)
    message(FATAL_ERROR "conan ${arguments} ended with ${status}:\n${output}${log}")
  endif()
  set(${result} "${output}" PARENT_SCOPE)
endfunction()

conan(none profile detect)
conan(none remote disable "*")

# Nothing is written beside the recipe.
set(settings --profile:all "${recipe}/debian12" -c tools.cmake.cmake_layout:test_folder=${WORK} -c
             tools.cmake.cmaketoolchain:user_presets= -c tools.cmake.cmaketoolchain:generator=Ninja)

conan(none create "${recipe}" ${settings} -o "&:with_eigen=True" -o "&:with_io=True")
set(other)
if(TORCH)
  set(other -o "&:with_torch=True")
endif()
conan(none create "${recipe}" ${settings} ${other})

# Whatever the options, one package: they choose what it requires, not what it holds.
conan(list list "patchdiff/${VERSION}#*:*#*" --format=json)
string(REGEX MATCHALL "\"info\"" packages "${list}")
list(LENGTH packages count)
if(NOT count EQUAL 1)
  message(FATAL_ERROR "expected one package of patchdiff/${VERSION}, got ${count}:\n${list}")
endif()

if(TORCH)
  # The host project, as a project that asks Conan for what it needs.
  set(host "${WORK}/host_project")
  conan(none install --requires=patchdiff/${VERSION} ${settings} -o "patchdiff/*:with_torch=True" -g CMakeDeps -g
        CMakeToolchain --output-folder=${host})
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -D "HOST=${SOURCE}/examples/host_project" -D "WORK=${host}/build" -D GENERATOR=Ninja -D
            PROGRAMS=paint_shapes -P "${CMAKE_CURRENT_LIST_DIR}/consume.cmake" --
            "-DCMAKE_TOOLCHAIN_FILE=${host}/conan_toolchain.cmake" -DCMAKE_BUILD_TYPE=Release
            -DCMAKE_CXX_FLAGS_RELEASE=-O1 COMMAND_ERROR_IS_FATAL ANY)
endif()

if(CLI)
  # The program, optimised as users' and without a warning; its package's test runs it.
  conan(none create "${recipe}" ${settings} -o "&:cli=True" -c "tools.build:cxxflags=['-Werror']")
endif()

execute_process(COMMAND "${CONAN}" create "${recipe}" ${settings} -s compiler.cppstd=17 RESULT_VARIABLE status
                OUTPUT_QUIET ERROR_VARIABLE log)
if(status EQUAL 0 OR NOT log MATCHES "Current cppstd \\(17\\) is lower than the required C\\+\\+ standard \\(20\\)")
  message(FATAL_ERROR "C++17 was not refused:\n${log}")
endif()
