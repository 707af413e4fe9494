# SPDX-License-Identifier: Apache-2.0
# cmake -D SOURCE=<repository> -P check.cmake
# Every block of C++ or Python in the README and in docs/ is a part of an example or a test, word for word but for its
# indentation.
cmake_minimum_required(VERSION 3.25)

file(GLOB_RECURSE files "${SOURCE}/examples/*.[ch]pp" "${SOURCE}/examples/*.py" "${SOURCE}/tests/*_test.cpp"
     "${SOURCE}/tests/python/*.py")
set(code "")
foreach(file IN LISTS files)
  file(READ "${file}" text)
  string(APPEND code "\n${text}")
endforeach()

file(GLOB documents RELATIVE "${SOURCE}" "${SOURCE}/*.md" "${SOURCE}/docs/*.md")
set(count 0)
foreach(document IN LISTS documents)
  foreach(language IN ITEMS cpp python)
    file(READ "${SOURCE}/${document}" rest)
    string(LENGTH "\n```${language}" opening)
    string(FIND "${rest}" "\n```${language}\n" begin)
    while(NOT begin EQUAL -1)
      math(EXPR begin "${begin} + ${opening}") # the line's end stays: each line of a block begins with one
      string(SUBSTRING "${rest}" ${begin} -1 rest)
      string(FIND "${rest}" "\n```\n" end)
      math(EXPR past "${end} + 1")
      string(SUBSTRING "${rest}" 0 ${past} block)
      string(SUBSTRING "${rest}" ${end} -1 rest)
      set(found FALSE)
      foreach(indent IN ITEMS "" "  " "    ")
        string(REGEX REPLACE "\n([^\n])" "\n${indent}\\1" indented "${block}")
        string(FIND "${code}" "${indented}" position)
        if(NOT position EQUAL -1)
          set(found TRUE)
        endif()
      endforeach()
      if(NOT found)
        message(SEND_ERROR "${document}: this is in no example and no test:\n${block}")
      endif()
      math(EXPR count "${count} + 1")
      string(FIND "${rest}" "\n```${language}\n" begin)
    endwhile()
  endforeach()
endforeach()

if(count EQUAL 0)
  message(FATAL_ERROR "no document has a block of code")
endif()
message(STATUS "${count} blocks of code are compiled or run")
