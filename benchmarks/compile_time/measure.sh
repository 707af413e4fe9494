#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the headers cost a host: processor time of the compiler, in turns, without optimisation of anything but the
# compiler's own defaults at -O2, no precompiled header and no cache.
#
#   benchmarks/compile_time/measure.sh [ROUNDS] [BUILD FOLDER]     default: 3 rounds, flags as of build/test
set -euo pipefail
rounds=${1:-3}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${2:-build/test}

# The include folders and definitions that this build gives to programs over LibTorch.
flags=$(sed -n 's/.*"command": "\(.*golden_test\.cpp\.o -c.*\)",/\1/p' "$build/compile_commands.json" |
  tr ' ' '\n' | awk '/^-isystem$/ { getline path; print "-isystem " path } /^-[DI]/ { print }' | tr '\n' ' ')
if [ -z "$flags" ]; then
  echo "measure.sh: no target golden_test in $build: cmake --preset test" >&2
  exit 1
fi
export CCACHE_DISABLE=1
TIMEFORMAT=%U
for ((round = 0; round < rounds; ++round)); do
  for source in benchmarks/compile_time/{torch_header,six_components,torch_training}.cpp tests/link/eigen_host.cpp; do
    # shellcheck disable=SC2086 # many flags
    user=$({ time "${CXX:-g++}" -std=c++20 -O2 $flags -Iinclude -c "$source" -o /dev/null 2>/dev/null; } 2>&1)
    echo "$(basename "$source" .cpp) $user"
  done
done | sort -k1,1 -k2,2n | awk '
  { times[$1] = times[$1] " " $2; count[$1]++; all[$1, count[$1]] = $2 }
  END {
    for (name in count) median[name] = all[name, int((count[name] + 1) / 2)]
    for (name in count) printf "%-16s %6.2f s, %.2f of torch/torch.h (%s )\n", name, median[name], median[name] / median["torch_header"], times[name]
  }'
