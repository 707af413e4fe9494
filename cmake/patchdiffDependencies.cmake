# SPDX-License-Identifier: Apache-2.0
# What each component needs, for the build tree and for the installed package alike.

set(PATCHDIFF_COMPONENTS eigen io mpi torch)
set(_PATCHDIFF_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")

# Finds the needs of `component`; sets patchdiff_<component>_FOUND and, when it is false, patchdiff_<component>_REASON.
# A macro, because packages set variables that later calls of find_package read.
macro(patchdiff_find_component component)
  set(patchdiff_${component}_REASON "")
  if("${component}" STREQUAL "io")
    foreach(_patchdiff_package ZLIB PNG JPEG nlohmann_json)
      find_package(${_patchdiff_package} QUIET GLOBAL)
      if(NOT ${_patchdiff_package}_FOUND)
        string(APPEND patchdiff_${component}_REASON " ${_patchdiff_package}")
      endif()
    endforeach()
    unset(_patchdiff_package)
    if(patchdiff_${component}_REASON)
      string(PREPEND patchdiff_${component}_REASON "not found:")
      string(APPEND patchdiff_${component}_REASON " (Debian: apt install zlib1g-dev libpng-dev libjpeg-dev nlohmann-json3-dev)")
    endif()
  elseif("${component}" STREQUAL "eigen")
    # Without a version: Eigen 5 refuses a request for 3.4, and 3.4.0 a range.
    find_package(Eigen3 QUIET GLOBAL)
    if(NOT Eigen3_FOUND)
      set(patchdiff_${component}_REASON "not found: Eigen3 (Debian: apt install libeigen3-dev)")
    elseif(Eigen3_VERSION VERSION_LESS 3.4)
      set(patchdiff_${component}_REASON "Eigen 3.4 or newer is needed, ${Eigen3_VERSION} was found")
    endif()
  elseif("${component}" STREQUAL "mpi")
    set(MPI_CXX_SKIP_MPICXX TRUE) # its old C++ interface
    find_package(MPI QUIET GLOBAL COMPONENTS CXX)
    if(NOT MPI_CXX_FOUND)
      set(patchdiff_${component}_REASON "no MPI found (Debian: apt install libopenmpi-dev openmpi-bin)")
    endif()
  elseif("${component}" STREQUAL "torch")
    include("${_PATCHDIFF_CMAKE_DIR}/patchdiffLibTorch.cmake")
    set(patchdiff_${component}_REASON "${PATCHDIFF_LIBTORCH_REASON}")
    if(PATCHDIFF_LIBTORCH_FOUND)
      # LibTorch's parallel loops live in its headers: without OpenMP they run on one thread.
      find_package(OpenMP QUIET GLOBAL COMPONENTS CXX)
      if(NOT OpenMP_CXX_FOUND)
        set(patchdiff_${component}_REASON "the C++ compiler has no OpenMP, which LibTorch's parallel loops need")
      endif()
    endif()
  else()
    string(REPLACE ";" ", " patchdiff_${component}_REASON "no such component, patchdiff has ${PATCHDIFF_COMPONENTS}")
  endif()
  if(patchdiff_${component}_REASON)
    set(patchdiff_${component}_FOUND FALSE)
  else()
    set(patchdiff_${component}_FOUND TRUE)
  endif()
endmacro()

# What find_package(patchdiff COMPONENTS ...) does within a package file: finds the named components and, where one that is
# required is missing, says that patchdiff was not found.
macro(patchdiff_find_named_components)
  foreach(_patchdiff_component IN LISTS patchdiff_FIND_COMPONENTS)
    patchdiff_find_component("${_patchdiff_component}")
    if(NOT patchdiff_${_patchdiff_component}_FOUND AND patchdiff_FIND_REQUIRED_${_patchdiff_component})
      set(patchdiff_FOUND FALSE)
      string(APPEND patchdiff_NOT_FOUND_MESSAGE
             "component ${_patchdiff_component}: ${patchdiff_${_patchdiff_component}_REASON}\n")
    endif()
  endforeach()
  unset(_patchdiff_component)
endmacro()
