#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu

usage() {
  cat <<'EOF'
usage: sh tests/run.sh [--all] [--jobs N]

Installs what is missing (Debian), builds everything under build/test and runs the tests.

  --all     also the tests labelled `slow`
  --jobs N  compile and test on N processors (default: all)
  --help    this text
EOF
}

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
all=false
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
while [ $# -gt 0 ]; do
  case $1 in
    --all) all=true ;;
    --jobs)
      [ $# -ge 2 ] || { echo "tests/run.sh: --jobs needs a number" >&2; exit 2; }
      jobs=$2
      shift
      ;;
    --help)
      usage
      exit 0
      ;;
    *)
      echo "tests/run.sh: unknown argument '$1'" >&2
      usage >&2
      exit 2
      ;;
  esac
  shift
done
case $jobs in
  '' | *[!0-9]* | 0) echo "tests/run.sh: --jobs: expected a number from 1 on, got '$jobs'" >&2; exit 2 ;;
esac

sh "$root/packaging/dependencies.sh" test
cd "$root"
cmake --preset test
cmake --build --preset test --parallel "$jobs"
if $all; then
  exec ctest --test-dir build/test --output-on-failure --no-tests=error --parallel "$jobs"
else
  exec ctest --preset test --parallel "$jobs"
fi
