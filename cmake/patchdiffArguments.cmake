# SPDX-License-Identifier: Apache-2.0

# Sets `result` to the arguments of the script after `--`.
function(patchdiff_arguments result)
  set(arguments)
  set(found FALSE)
  math(EXPR last "${CMAKE_ARGC} - 1")
  foreach(i RANGE ${last})
    if(found)
      list(APPEND arguments "${CMAKE_ARGV${i}}")
    elseif(CMAKE_ARGV${i} STREQUAL "--")
      set(found TRUE)
    endif()
  endforeach()
  set(${result} "${arguments}" PARENT_SCOPE)
endfunction()
