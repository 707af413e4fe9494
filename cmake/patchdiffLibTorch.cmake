# SPDX-License-Identifier: Apache-2.0
#[[
Finds LibTorch and makes the target patchdiff::libtorch. Never aborts: the answer is in

  PATCHDIFF_LIBTORCH_FOUND    whether patchdiff::libtorch exists
  PATCHDIFF_LIBTORCH_REASON   why not
  PATCHDIFF_LIBTORCH_VERSION  for example 1.13.0
  PATCHDIFF_LIBTORCH_ROOT     where it was found

Hints:

  PATCHDIFF_TORCH (CMake or environment)  LibTorch's folder (site-packages/torch of the wheel, the unpacked zip, an
                                          installation prefix) or a Python environment that has the wheel. When it is
                                          set, nothing else is looked at.
  Torch_DIR, Torch_ROOT, CMAKE_PREFIX_PATH  as for find_package(Torch)
  PATCHDIFF_LIBTORCH_MODE                 AUTO (default), CONFIG or DIRECT
  PATCHDIFF_LIBTORCH_CUDA                 AUTO (default), ON or OFF: whether DIRECT links LibTorch's CUDA libraries

CONFIG asks LibTorch's own CMake package. DIRECT names its folders and libraries here: LibTorch's package of a CUDA
build stops the configuration where there is no CUDA toolkit, even under QUIET, enables the CUDA language and puts
stray folders into the run path of every program. AUTO is DIRECT for such builds and CONFIG for all others. A LibTorch
that the project has already found (target `torch`, or TORCH_LIBRARIES) is taken as it is.
]]

# Sets _patchdiff_torch_config (TorchConfig.cmake) or PATCHDIFF_LIBTORCH_REASON.
function(_patchdiff_locate_libtorch)
  set(suffixes
      share/cmake/Torch # wheel, zip
      lib/cmake/Torch
      lib/${CMAKE_LIBRARY_ARCHITECTURE}/cmake/Torch # Debian
      share/torch # vcpkg
      cmake/Torch
      cmake
      Torch)
  set(config _patchdiff_torch_config-NOTFOUND)

  set(hint "${PATCHDIFF_TORCH}")
  if(NOT hint)
    set(hint "$ENV{PATCHDIFF_TORCH}")
  endif()
  if(hint)
    file(TO_CMAKE_PATH "${hint}" hint)
    get_filename_component(hint "${hint}" ABSOLUTE)
    file(GLOB wheels "${hint}/lib/python3*/site-packages/torch")
    find_file(config TorchConfig.cmake
              PATHS "${hint}" "${hint}/torch" ${wheels} PATH_SUFFIXES ${suffixes} NO_DEFAULT_PATH NO_CACHE)
    if(NOT config)
      set(PATCHDIFF_LIBTORCH_REASON "PATCHDIFF_TORCH is ${hint}, which holds no TorchConfig.cmake" PARENT_SCOPE)
      return()
    endif()
  else()
    # The same order as find_package(Torch), whose hints these are.
    foreach(variable Torch_DIR ENV{Torch_DIR} Torch_ROOT ENV{Torch_ROOT})
      if(variable MATCHES "^ENV{(.*)}$")
        set(value "$ENV{${CMAKE_MATCH_1}}")
      else()
        set(value "${${variable}}")
      endif()
      if(value AND NOT config)
        file(TO_CMAKE_PATH "${value}" value)
        find_file(config TorchConfig.cmake PATHS ${value} PATH_SUFFIXES ${suffixes} NO_DEFAULT_PATH NO_CACHE)
      endif()
    endforeach()
    if(NOT config)
      find_file(config TorchConfig.cmake PATH_SUFFIXES ${suffixes} NO_CACHE)
    endif()
    if(NOT config)
      set(PATCHDIFF_LIBTORCH_REASON
          "no TorchConfig.cmake found (Debian: apt install libtorch-dev; otherwise set PATCHDIFF_TORCH to LibTorch's folder)"
          PARENT_SCOPE)
      return()
    endif()
  endif()
  set(_patchdiff_torch_config "${config}" PARENT_SCOPE)
endfunction()

# Reads LibTorch's package as text. Sets _patchdiff_torch_{root,accelerated,cxx11_abi}, PATCHDIFF_LIBTORCH_VERSION and,
# where the package cannot work, PATCHDIFF_LIBTORCH_REASON.
function(_patchdiff_probe_libtorch config)
  get_filename_component(directory "${config}" DIRECTORY)

  # The prefix is the nearest folder above that has the headers.
  set(root "${directory}")
  while(NOT EXISTS "${root}/include/torch/csrc/api/include/torch/torch.h")
    get_filename_component(parent "${root}" DIRECTORY)
    if(parent STREQUAL root)
      set(PATCHDIFF_LIBTORCH_REASON "${config} has no include/torch/csrc/api/include/torch/torch.h above it" PARENT_SCOPE)
      return()
    endif()
    set(root "${parent}")
  endwhile()
  set(_patchdiff_torch_root "${root}" PARENT_SCOPE)

  set(version "")
  if(EXISTS "${directory}/TorchConfigVersion.cmake")
    file(READ "${directory}/TorchConfigVersion.cmake" text)
    if(text MATCHES "PACKAGE_VERSION \"([0-9]+\\.[0-9]+\\.[0-9]+)")
      set(version "${CMAKE_MATCH_1}")
    endif()
  endif()
  set(PATCHDIFF_LIBTORCH_VERSION "${version}" PARENT_SCOPE)
  if(version AND version VERSION_LESS 1.13)
    set(PATCHDIFF_LIBTORCH_REASON "LibTorch ${version} in ${root} is too old, 1.13 or newer is needed" PARENT_SCOPE)
    return()
  endif()

  file(READ "${config}" text)
  set(abi "")
  if(text MATCHES "_GLIBCXX_USE_CXX11_ABI=([01])")
    set(abi "${CMAKE_MATCH_1}")
  endif()
  set(_patchdiff_torch_cxx11_abi "${abi}" PARENT_SCOPE)

  set(accelerated FALSE)
  foreach(caffe2 "${directory}/../Caffe2/Caffe2Config.cmake" "${directory}/../caffe2/Caffe2Config.cmake")
    if(EXISTS "${caffe2}")
      file(READ "${caffe2}" text)
      if(text MATCHES "CAFFE2_USE_CUDA +(ON|1|TRUE)" OR text MATCHES "if *\\((ON|1|TRUE)\\)[ \n]*include\\([^)]*LoadHIP")
        set(accelerated TRUE)
      endif()
      # Their package stops the configuration where one of these is missing.
      foreach(dependency gflags:gflags/gflags.h glog:glog/logging.h)
        string(REPLACE ":" ";" dependency "${dependency}")
        list(GET dependency 0 name)
        list(GET dependency 1 header)
        if(text MATCHES "if *\\((ON|1|TRUE)\\)[ \n]*include\\([^)]*/${name}\\.cmake")
          find_path(found_${name} ${header} NO_CACHE)
          if(NOT found_${name})
            set(PATCHDIFF_LIBTORCH_REASON "LibTorch in ${root} needs ${name}, whose headers are missing" PARENT_SCOPE)
            return()
          endif()
        endif()
      endforeach()
    endif()
  endforeach()
  set(_patchdiff_torch_accelerated "${accelerated}" PARENT_SCOPE)
endfunction()

# Locates LibTorch's package and reads it, in the caller's scope.
macro(_patchdiff_find_libtorch)
  _patchdiff_locate_libtorch()
  if(NOT PATCHDIFF_LIBTORCH_REASON)
    _patchdiff_probe_libtorch("${_patchdiff_torch_config}")
  endif()
endmacro()

# Sets `result` to the folders of headers of the LibTorch that LibTorch's own package, or the project, has found.
function(_patchdiff_libtorch_includes result)
  set(includes ${TORCH_INCLUDE_DIRS})
  if(TARGET torch)
    get_target_property(of_target torch INTERFACE_INCLUDE_DIRECTORIES)
    if(of_target)
      list(PREPEND includes ${of_target})
    endif()
  endif()
  set(${result} ${includes} PARENT_SCOPE)
endfunction()

# The wheel's libraries need those of sibling packages (site-packages/nvidia/*/lib). The linker must be told, or it
# resolves them against an older copy of the system.
function(_patchdiff_sibling_folders result root)
  file(GLOB siblings LIST_DIRECTORIES TRUE "${root}/../nvidia/*/lib")
  set(folders)
  foreach(sibling IN LISTS siblings)
    get_filename_component(sibling "${sibling}" ABSOLUTE)
    if(IS_DIRECTORY "${sibling}")
      list(APPEND folders "${sibling}")
    endif()
  endforeach()
  set(${result} ${folders} PARENT_SCOPE)
endfunction()

# Makes patchdiff::libtorch from the libraries below `root`.
function(_patchdiff_direct_libtorch root)
  foreach(name torch torch_cpu c10)
    find_library(library_${name} ${name} PATHS "${root}" PATH_SUFFIXES lib lib/${CMAKE_LIBRARY_ARCHITECTURE}
                 NO_DEFAULT_PATH NO_CACHE)
    if(NOT library_${name})
      set(PATCHDIFF_LIBTORCH_REASON "no lib${name} below ${root}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  get_filename_component(libraries "${library_c10}" DIRECTORY)

  _patchdiff_sibling_folders(siblings "${root}")
  set(folders "${libraries}" ${siblings})
  set(options)
  if(UNIX AND NOT APPLE)
    foreach(folder IN LISTS folders)
      list(APPEND options "LINKER:-rpath,${folder}" "LINKER:-rpath-link,${folder}")
    endforeach()
  elseif(APPLE)
    list(APPEND options "LINKER:-rpath,${libraries}")
  endif()

  # No symbol of the CUDA libraries is named by a program: they register themselves when they are loaded.
  set(link)
  find_library(library_cuda torch_cuda PATHS "${libraries}" NO_DEFAULT_PATH NO_CACHE)
  set(want "${PATCHDIFF_LIBTORCH_CUDA}")
  if(want STREQUAL "" OR want STREQUAL "AUTO")
    # A wheel installed without its dependencies has the library, but it cannot be loaded.
    file(GLOB cudnn "${root}/../nvidia/cudnn/lib/libcudnn.so*" "${root}/lib/libcudnn*.so*")
    set(want FALSE)
    if(library_cuda AND cudnn)
      set(want TRUE)
    endif()
  endif()
  if(want)
    if(NOT library_cuda)
      set(PATCHDIFF_LIBTORCH_REASON "PATCHDIFF_LIBTORCH_CUDA is ${want}, but ${libraries} has no libtorch_cuda" PARENT_SCOPE)
      return()
    endif()
    if(UNIX AND NOT APPLE)
      list(APPEND link "-Wl,--push-state,--no-as-needed,\"${library_cuda}\",--pop-state")
    else()
      list(APPEND link "${library_cuda}")
    endif()
  endif()
  # A host that names CUDA streams needs their library too.
  set(library_c10_cuda)
  if(want)
    find_library(library_c10_cuda c10_cuda PATHS "${libraries}" NO_DEFAULT_PATH NO_CACHE)
    if(NOT library_c10_cuda)
      set(library_c10_cuda)
    endif()
  endif()
  # As linker flags: the wheel's folder holds a libgomp.so.1 too, and CMake would warn, for every program, that the
  # run path which it derives from libraries hides the compiler's. Flags are not quoted by CMake, and folders have spaces.
  foreach(library IN ITEMS "${library_torch_cpu}" ${library_c10_cuda} "${library_c10}")
    if(UNIX)
      list(APPEND link "-Wl,\"${library}\"")
    else()
      list(APPEND link "${library}")
    endif()
  endforeach()

  add_library(patchdiff::libtorch INTERFACE IMPORTED GLOBAL)
  set_target_properties(
    patchdiff::libtorch
    PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${root}/include;${root}/include/torch/csrc/api/include"
               INTERFACE_LINK_LIBRARIES "${link};Threads::Threads"
               INTERFACE_LINK_OPTIONS "${options}")
  if(NOT _patchdiff_torch_cxx11_abi STREQUAL "")
    set_target_properties(patchdiff::libtorch PROPERTIES INTERFACE_COMPILE_DEFINITIONS
                                                         _GLIBCXX_USE_CXX11_ABI=${_patchdiff_torch_cxx11_abi})
  endif()
endfunction()

# Sets `result` to the version that LibTorch's headers in the folder `include` state, or to nothing.
function(_patchdiff_libtorch_headers_version result include)
  set(version "")
  foreach(header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(NOT version AND EXISTS "${include}/${header}")
      file(STRINGS "${include}/${header}" lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
      if(lines MATCHES "MAJOR +([0-9]+).*MINOR +([0-9]+).*PATCH +([0-9]+)")
        set(version "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
      endif()
    endif()
  endforeach()
  set(${result} "${version}" PARENT_SCOPE)
endfunction()

# Sets PATCHDIFF_LIBTORCH_REASON where the targets of LibTorch's package mix two of them: it searches for some of its
# parts in the system's folders too, and another LibTorch may be installed there. A library is of the version of the
# headers that were installed beside it.
function(_patchdiff_refuse_mixed_libtorch)
  set(headers "")
  set(libraries)
  foreach(target torch torch_cpu c10)
    if(TARGET ${target})
      get_target_property(includes ${target} INTERFACE_INCLUDE_DIRECTORIES)
      foreach(include IN LISTS includes)
        if(NOT headers)
          _patchdiff_libtorch_headers_version(headers "${include}")
          set(headers_folder "${include}")
        endif()
      endforeach()
      get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
      foreach(property IMPORTED_LOCATION ${configurations})
        if(NOT property STREQUAL "IMPORTED_LOCATION")
          string(PREPEND property IMPORTED_LOCATION_)
        endif()
        get_target_property(library ${target} ${property})
        if(library)
          list(APPEND libraries "${library}")
        endif()
      endforeach()
    endif()
  endforeach()
  if(NOT headers)
    return()
  endif()

  foreach(library IN LISTS libraries)
    set(version "")
    get_filename_component(prefix "${library}" DIRECTORY)
    foreach(level RANGE 2) # lib/<architecture>/, lib/, the prefix
      if(NOT version)
        _patchdiff_libtorch_headers_version(version "${prefix}/include")
        get_filename_component(prefix "${prefix}" DIRECTORY)
      endif()
    endforeach()
    if(version AND NOT version STREQUAL headers)
      set(PATCHDIFF_LIBTORCH_REASON
          "two LibTorch are mixed: the headers in ${headers_folder} are of ${headers}, ${library} is of ${version}. Set \
PATCHDIFF_TORCH to the folder of one of them" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

# Sets PATCHDIFF_LIBTORCH_REASON where PATCHDIFF_TORCH names another LibTorch than the project has found.
function(_patchdiff_refuse_other_libtorch)
  if(NOT PATCHDIFF_TORCH AND NOT DEFINED ENV{PATCHDIFF_TORCH})
    return()
  endif()
  _patchdiff_find_libtorch()
  if(NOT PATCHDIFF_LIBTORCH_REASON)
    _patchdiff_libtorch_headers_version(wanted "${_patchdiff_torch_root}/include")
    _patchdiff_libtorch_includes(includes)
    foreach(include IN LISTS includes)
      _patchdiff_libtorch_headers_version(found "${include}")
      if(wanted AND found AND NOT found STREQUAL wanted)
        set(PATCHDIFF_LIBTORCH_REASON
            "PATCHDIFF_TORCH is LibTorch ${wanted} in ${_patchdiff_torch_root}, but this project has already found \
LibTorch ${found} in ${include}")
        break()
      endif()
    endforeach()
  endif()
  set(PATCHDIFF_LIBTORCH_REASON "${PATCHDIFF_LIBTORCH_REASON}" PARENT_SCOPE)
endfunction()

set(PATCHDIFF_LIBTORCH_REASON "")
set(_patchdiff_torch_siblings "")

if(TARGET patchdiff::libtorch)
  set(PATCHDIFF_LIBTORCH_FOUND TRUE)
elseif(TARGET torch OR TORCH_LIBRARIES)
  set(_patchdiff_torch_link "${TORCH_LIBRARIES}")
  set(PATCHDIFF_LIBTORCH_ROOT "the LibTorch that this project found")
  set(PATCHDIFF_LIBTORCH_VERSION "${Torch_VERSION}")
  _patchdiff_refuse_other_libtorch()
else()
  set(_patchdiff_torch_config "")
  _patchdiff_find_libtorch()
  if(NOT PATCHDIFF_LIBTORCH_REASON)
    set(PATCHDIFF_LIBTORCH_ROOT "${_patchdiff_torch_root}")
    set(_patchdiff_torch_mode "${PATCHDIFF_LIBTORCH_MODE}")
    if(_patchdiff_torch_mode STREQUAL "" OR _patchdiff_torch_mode STREQUAL "AUTO")
      set(_patchdiff_torch_mode CONFIG)
      if(_patchdiff_torch_accelerated)
        set(_patchdiff_torch_mode DIRECT)
      endif()
    endif()
    if(_patchdiff_torch_mode STREQUAL "DIRECT")
      find_package(Threads QUIET GLOBAL)
      _patchdiff_direct_libtorch("${_patchdiff_torch_root}")
    elseif(_patchdiff_torch_mode STREQUAL "CONFIG")
      # LibTorch's own default starts with architectures that nvcc 13 refuses.
      if(_patchdiff_torch_accelerated AND NOT TORCH_CUDA_ARCH_LIST AND NOT DEFINED ENV{TORCH_CUDA_ARCH_LIST})
        set(TORCH_CUDA_ARCH_LIST 7.5 8.0 8.6 9.0)
      endif()
      # Torch_DIR alone would leave the search for its parts to the system's folders.
      get_filename_component(_patchdiff_torch_dir "${_patchdiff_torch_config}" DIRECTORY)
      set(_patchdiff_torch_saved_prefix "${CMAKE_PREFIX_PATH}")
      set(_patchdiff_torch_saved_standard ${CMAKE_CUDA_STANDARD})
      set(_patchdiff_torch_saved_required ${CMAKE_CUDA_STANDARD_REQUIRED})
      list(PREPEND CMAKE_PREFIX_PATH "${_patchdiff_torch_root}")
      find_package(Torch QUIET GLOBAL CONFIG PATHS "${_patchdiff_torch_dir}" NO_DEFAULT_PATH)
      set(CMAKE_PREFIX_PATH "${_patchdiff_torch_saved_prefix}")
      # It insists on the C++ standard for CUDA sources, and CMake 3.25 cannot ask nvcc for C++20.
      set(CMAKE_CUDA_STANDARD ${_patchdiff_torch_saved_standard})
      set(CMAKE_CUDA_STANDARD_REQUIRED ${_patchdiff_torch_saved_required})
      if(Torch_FOUND)
        set(_patchdiff_torch_link "${TORCH_LIBRARIES}")
        if(UNIX AND NOT APPLE)
          _patchdiff_sibling_folders(_patchdiff_torch_siblings "${_patchdiff_torch_root}")
        endif()
      else()
        set(PATCHDIFF_LIBTORCH_REASON "LibTorch's own package in ${_patchdiff_torch_dir} was refused: ${Torch_NOT_FOUND_MESSAGE}")
      endif()
      unset(_patchdiff_torch_dir)
      unset(_patchdiff_torch_saved_prefix)
      unset(_patchdiff_torch_saved_standard)
      unset(_patchdiff_torch_saved_required)
    else()
      set(PATCHDIFF_LIBTORCH_REASON "PATCHDIFF_LIBTORCH_MODE is ${_patchdiff_torch_mode}: expected AUTO, CONFIG or DIRECT")
    endif()
  endif()
endif()

if(NOT TARGET patchdiff::libtorch AND NOT PATCHDIFF_LIBTORCH_REASON)
  _patchdiff_refuse_mixed_libtorch()
endif()
if(NOT TARGET patchdiff::libtorch AND NOT PATCHDIFF_LIBTORCH_REASON)
  add_library(patchdiff::libtorch INTERFACE IMPORTED GLOBAL)
  # The targets, where there are any: TORCH_LIBRARIES may name another LibTorch's libc10 beside them.
  if(TARGET torch AND TARGET torch_library)
    set(_patchdiff_torch_link torch torch_library)
  elseif(TARGET torch)
    set(_patchdiff_torch_link torch)
  endif()
  list(TRANSFORM _patchdiff_torch_siblings PREPEND "LINKER:-rpath-link,")
  set_target_properties(patchdiff::libtorch PROPERTIES INTERFACE_LINK_LIBRARIES "${_patchdiff_torch_link}"
                                                       INTERFACE_LINK_OPTIONS "${_patchdiff_torch_siblings}")
  if(NOT TARGET torch AND TORCH_INCLUDE_DIRS)
    set_target_properties(patchdiff::libtorch PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${TORCH_INCLUDE_DIRS}")
  endif()
endif()

if(TARGET patchdiff::libtorch)
  set(PATCHDIFF_LIBTORCH_FOUND TRUE)
else()
  set(PATCHDIFF_LIBTORCH_FOUND FALSE)
endif()

foreach(_patchdiff_torch_name config root accelerated cxx11_abi mode link siblings)
  unset(_patchdiff_torch_${_patchdiff_torch_name})
endforeach()
unset(_patchdiff_torch_name)
