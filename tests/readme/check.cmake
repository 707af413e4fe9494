# SPDX-License-Identifier: Apache-2.0
# cmake -D SOURCE=<repository> -P check.cmake
# The README must show the marked part of examples/training_loop, word for word.
cmake_minimum_required(VERSION 3.25)

file(READ "${SOURCE}/examples/training_loop/training_loop.cpp" program)
set(mark "  // [README]\n")
string(LENGTH "${mark}" mark_length)
string(FIND "${program}" "${mark}" first)
string(FIND "${program}" "${mark}" last REVERSE)
if(first EQUAL -1 OR first EQUAL last)
  message(FATAL_ERROR "examples/training_loop/training_loop.cpp: no two lines \"// [README]\"")
endif()
math(EXPR begin "${first} + ${mark_length}")
math(EXPR length "${last} - ${begin}")
string(SUBSTRING "${program}" ${begin} ${length} snippet)
string(REPLACE "\n  " "\n" snippet "\n${snippet}")

file(READ "${SOURCE}/README.md" readme)
string(FIND "${readme}" "```cpp${snippet}```" position)
if(position EQUAL -1)
  message(FATAL_ERROR "README.md does not show this part of examples/training_loop/training_loop.cpp:\n${snippet}")
endif()
