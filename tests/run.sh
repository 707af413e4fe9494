#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu

usage() {
  cat <<'EOF'
usage: sh tests/run.sh [--torch debian|pypi|pypi-cuda] [--short] [--all] [--jobs N]

Installs what is missing (Debian), builds everything and runs the tests.

  --torch debian     the system's LibTorch, or that of PATCHDIFF_TORCH; build folder build/test (default)
  --torch pypi       LibTorch 2.13 of PyPI, installed below build/ (1.2 GB), without CUDA; build/test-pypi
  --torch pypi-cuda  the same with its CUDA libraries (5 GB) and the CUDA 13.0 toolkit; build/torch-cuda
  --short            with --torch pypi: only the golden, LibTorch and conformance tests and one host project;
                     build/test-pypi-short
  --all              also the tests labelled `slow`
  --jobs N           compile and test on N processors (default: all)
  --help             this text
EOF
}

fail() {
  echo "tests/run.sh: $1" >&2
  exit 2
}

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
torch=debian
short=false
all=false
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
while [ $# -gt 0 ]; do
  case $1 in
    --all) all=true ;;
    --short) short=true ;;
    --torch)
      [ $# -ge 2 ] || fail "--torch needs debian, pypi or pypi-cuda"
      torch=$2
      shift
      ;;
    --jobs)
      [ $# -ge 2 ] || fail "--jobs needs a number"
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
  '' | *[!0-9]* | 0) fail "--jobs: expected a number from 1 on, got '$jobs'" ;;
esac
case $torch:$short in
  debian:false) preset="test" ;;
  pypi:false) preset="test-pypi" ;;
  pypi:true) preset="test-pypi-short" ;;
  pypi-cuda:false) preset="torch-cuda" ;;
  debian:* | pypi-cuda:*) fail "--short goes with --torch pypi only" ;;
  *) fail "--torch: expected debian, pypi or pypi-cuda, got '$torch'" ;;
esac
if $all && $short; then
  fail "--all and --short exclude each other"
fi

cd "$root"
case $torch in
  pypi)
    sh packaging/dependencies.sh wheel
    sh packaging/torch_wheel.sh build/torch-pypi
    export PATCHDIFF_TORCH="$root/build/torch-pypi"
    ;;
  pypi-cuda)
    command -v "${CUDACXX:-nvcc}" >/dev/null 2>&1 ||
      fail "--torch pypi-cuda needs the CUDA 13.0 toolkit: put nvcc on the PATH, or set CUDACXX"
    sh packaging/dependencies.sh wheel
    sh packaging/torch_wheel.sh --cuda build/torch-pypi-cuda
    export PATCHDIFF_TORCH="$root/build/torch-pypi-cuda"
    ;;
esac
sh packaging/dependencies.sh test
cmake --preset "$preset"
cmake --build --preset "$preset" --parallel "$jobs"
if $all; then
  exec ctest --test-dir "build/$preset" --output-on-failure --no-tests=error --parallel "$jobs"
else
  exec ctest --preset "$preset" --parallel "$jobs"
fi
