# SPDX-License-Identifier: Apache-2.0
# cmake -D SOURCE=<repository> -D WORK=<folder> -D GENERATOR=… -D VERSION=<project's> -P vcpkg.cmake -- cache entries...
# Runs the port with functions that do what vcpkg's own do, as far as it needs them; looks at the package, and builds a
# host with it. Only the tool itself would know the other ports.
cmake_minimum_required(VERSION 3.25)

set(port "${SOURCE}/packaging/vcpkg")
include("${CMAKE_CURRENT_LIST_DIR}/arguments.cmake")
patchdiff_arguments(settings)

# -- What the port says of itself ----------------------------------------------------------------------------------------

include("${SOURCE}/cmake/patchdiffDependencies.cmake") # for PATCHDIFF_COMPONENTS
file(READ "${port}/vcpkg.json" manifest)
file(READ "${port}/usage" usage)

function(expect_same what expected got)
  if(NOT "${got}" STREQUAL "${expected}")
    message(SEND_ERROR "packaging/vcpkg: ${what}: expected '${expected}', got '${got}'")
  endif()
endfunction()

string(JSON name GET "${manifest}" name)
expect_same(name patchdiff "${name}")
string(JSON version GET "${manifest}" version)
expect_same(version "${VERSION}" "${version}")
string(JSON defaults ERROR_VARIABLE none GET "${manifest}" default-features)
expect_same("default-features" "default-features-NOTFOUND" "${defaults}")
string(JSON count LENGTH "${manifest}" features)
set(features)
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  string(JSON feature MEMBER "${manifest}" features ${i})
  list(APPEND features ${feature})
endforeach()
set(expected cli ${PATCHDIFF_COMPONENTS})
list(SORT expected)
list(SORT features)
expect_same(features "${expected}" "${features}")
list(JOIN PATCHDIFF_COMPONENTS " " components)
if(NOT usage MATCHES "any of: ${components}\n")
  message(SEND_ERROR "packaging/vcpkg/usage does not list the components ${components}")
endif()

# -- vcpkg's functions -----------------------------------------------------------------------------------------------------

function(vcpkg_from_github)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_SOURCE_PATH;REPO;REF;SHA512;HEAD_REF" "")
  expect_same("unknown arguments" "" "${arg_UNPARSED_ARGUMENTS}")
  expect_same(REF "v${VERSION}" "${arg_REF}")
  set(${arg_OUT_SOURCE_PATH} "${SOURCE}" PARENT_SCOPE)
endfunction()

function(vcpkg_check_features)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_FEATURE_OPTIONS" "FEATURES;INVERTED_FEATURES")
  set(options)
  foreach(kind IN ITEMS FEATURES INVERTED_FEATURES)
    while(arg_${kind})
      list(POP_FRONT arg_${kind} feature variable)
      if(NOT feature IN_LIST features)
        message(SEND_ERROR "the portfile names the feature ${feature}, which vcpkg.json does not have")
      endif()
      set(value OFF)
      if((feature IN_LIST FEATURES AND kind STREQUAL "FEATURES")
         OR (NOT feature IN_LIST FEATURES AND kind STREQUAL "INVERTED_FEATURES"))
        set(value ON)
      endif()
      list(APPEND options "-D${variable}=${value}")
    endwhile()
  endforeach()
  set(${arg_OUT_FEATURE_OPTIONS} "${options}" PARENT_SCOPE)
endfunction()

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command} ended with ${status}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS;MAYBE_UNUSED_VARIABLES")
  expect_same("unknown arguments" "" "${arg_UNPARSED_ARGUMENTS}")
  run("${CMAKE_COMMAND}" -S "${arg_SOURCE_PATH}" -B "${WORK}/build" -G "${GENERATOR}"
      "-DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR}" ${settings} ${arg_OPTIONS})
  string(REGEX MATCH "Manually-specified variables were not used[^-]*" unused "${output}")
  foreach(variable IN LISTS arg_MAYBE_UNUSED_VARIABLES)
    string(REPLACE "${variable}" "" unused "${unused}")
  endforeach()
  if(unused MATCHES "PATCHDIFF_[A-Z_]+")
    message(SEND_ERROR "the portfile sets ${CMAKE_MATCH_0}, which patchdiff does not know")
  endif()
endfunction()

function(vcpkg_cmake_install)
  run("${CMAKE_COMMAND}" --build "${WORK}/build" --config Release --target install)
endfunction()

function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "CONFIG_PATH" "")
  file(RENAME "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}" "${CURRENT_PACKAGES_DIR}/share/${PORT}")
  file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/cmake")
  # The prefix is one folder nearer than it was.
  set(up "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n")
  file(GLOB files "${CURRENT_PACKAGES_DIR}/share/${PORT}/*.cmake")
  foreach(file IN LISTS files)
    file(READ "${file}" text)
    string(REPLACE "${up}${up}${up}" "${up}${up}" text "${text}")
    string(REPLACE "CMAKE_CURRENT_LIST_DIR}/../../../" "CMAKE_CURRENT_LIST_DIR}/../../" text "${text}")
    file(WRITE "${file}" "${text}")
  endforeach()
endfunction()

function(vcpkg_fixup_pkgconfig)
  file(GLOB files "${CURRENT_PACKAGES_DIR}/share/pkgconfig/*.pc" "${CURRENT_PACKAGES_DIR}/lib/pkgconfig/*.pc")
  if(NOT files)
    message(SEND_ERROR "no file for pkg-config was installed")
  endif()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  file(COPY_FILE "${arg_FILE_LIST}" "${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright")
endfunction()

# -- The port, with all features but the program: its options are checked, its compilation takes minutes --------------------

file(REMOVE_RECURSE "${WORK}")
set(PORT patchdiff)
set(FEATURES ${PATCHDIFF_COMPONENTS})
set(CURRENT_PACKAGES_DIR "${WORK}/package")
include("${port}/portfile.cmake")

file(GLOB top RELATIVE "${CURRENT_PACKAGES_DIR}" "${CURRENT_PACKAGES_DIR}/*")
expect_same("top folders" "include;share" "${top}")
file(GLOB shared RELATIVE "${CURRENT_PACKAGES_DIR}/share" "${CURRENT_PACKAGES_DIR}/share/*")
expect_same("folders of share" "patchdiff;pkgconfig" "${shared}")
foreach(file IN ITEMS copyright usage patchdiffConfig.cmake patchdiffConfigVersion.cmake patchdiffTargets.cmake)
  if(NOT EXISTS "${CURRENT_PACKAGES_DIR}/share/patchdiff/${file}")
    message(SEND_ERROR "the package has no share/patchdiff/${file}")
  endif()
endforeach()

run("${CMAKE_COMMAND}" -D "HOST=${SOURCE}/tests/package/core" -D "WORK=${WORK}/host" -D "GENERATOR=${GENERATOR}" -D
    "PROGRAMS=host|picture" -P "${SOURCE}/tests/package/consume.cmake" -- ${settings} -DCOMPONENTS=io
    "-DCMAKE_PREFIX_PATH=${CURRENT_PACKAGES_DIR}")
