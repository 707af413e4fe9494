#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the headers cost a host: processor time of the compiler, in turns, with and without optimisation, without
# precompiled header and cache. The checks inside the standard library that this build's tests have on are not a host's.
#
#   benchmarks/compile_time/measure.sh [ROUNDS] [BUILD FOLDER]     default: 3 rounds, flags as of build/test
set -euo pipefail
rounds=${1:-3}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${2:-build/test}

# The include folders and definitions that this build gives to programs over LibTorch.
flags=$(sed -n 's/.*"command": "\(.*golden_test\.cpp\.o -c.*\)",/\1/p' "$build/compile_commands.json" |
  tr ' ' '\n' | awk '/^-isystem$/ { getline path; print "-isystem " path } /^-[DI]/ && !/GLIBCXX_ASSERTIONS/ { print }' | tr '\n' ' ')
if [ -z "$flags" ]; then
  echo "measure.sh: no target golden_test in $build: cmake --preset test" >&2
  exit 1
fi
export CCACHE_DISABLE=1
TIMEFORMAT='%U %S'
for ((round = 0; round < rounds; ++round)); do
  for optimisation in -O2 -O0; do
    for source in benchmarks/compile_time/{torch_header,six_components,torch_training,six_components_eigen}.cpp tests/link/eigen_host.cpp; do
      # shellcheck disable=SC2086 # many flags
      spent=$({ time "${CXX:-g++}" -std=c++20 "$optimisation" $flags -Iinclude -c "$source" -o /dev/null 2>/dev/null; } 2>&1)
      echo "$optimisation $(basename "$source" .cpp) $spent"
    done
  done
done | awk '{ print $1, $2, $3 + $4 }' | sort -k1,2 -k3,3n | awk '
  { name = $1 " " $2; times[name] = times[name] " " $3; all[name, ++count[name]] = $3 }
  END {
    for (name in count) median[name] = all[name, int((count[name] + 1) / 2)]
    for (name in count) {
      split(name, part, " ")
      printf "%-3s %-20s %6.2f s, %.2f of torch/torch.h (%s )\n", part[1], part[2], median[name],
             median[name] / median[part[1] " torch_header"], times[name]
    }
  }' | sort
