#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts the LibTorch of PyPI's package `torch` into a virtual environment, for PATCHDIFF_TORCH:
#
#   sh packaging/torch_wheel.sh FOLDER         what programs need that compute on the processor (1.2 GB)
#   sh packaging/torch_wheel.sh --cuda FOLDER  with the CUDA libraries (5 GB)
#
# Neither needs a CUDA toolkit. A folder that is complete is left as it is.
# PYTHON names another interpreter than python3; what pip reads (PIP_INDEX_URL, pip.conf) holds here too.
set -eu

usage() {
  echo "usage: sh packaging/torch_wheel.sh [--cuda] FOLDER" >&2
  exit 2
}

cuda=false
if [ "${1:-}" = --cuda ]; then
  cuda=true
  shift
fi
[ $# = 1 ] || usage
folder=$1
case $folder in
  '' | -*) usage ;;
esac

packages=torch==2.13.0
dependencies=
if ! $cuda; then
  dependencies=--no-deps
  # libtorch_cpu.so of Linux is linked to these two, without a GPU too.
  [ "$(uname -s)" != Linux ] || packages="$packages nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85"
fi

complete=$folder/patchdiff-packages.txt # written last
wanted="$dependencies $packages"
if [ -f "$complete" ] && [ "$(cat "$complete")" = "$wanted" ]; then
  exit 0
fi
if [ -e "$folder" ]; then
  if [ ! -f "$folder/pyvenv.cfg" ]; then
    echo "packaging/torch_wheel.sh: $folder exists and is no virtual environment" >&2
    exit 1
  fi
  rm -rf "$folder"
fi

echo "Installing into $folder: $packages"
"${PYTHON:-python3}" -m venv "$folder"
# shellcheck disable=SC2086 # lists of words
"$folder/bin/python" -m pip --disable-pip-version-check install --quiet --no-compile --only-binary :all: $dependencies \
  $packages
echo "$wanted" >"$complete"
