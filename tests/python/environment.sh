#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a Python environment for the tests of the labels `python` and `tensorboard` (5 GB, as PyPI's torch brings CUDA):
#
#   sh tests/python/environment.sh build/python
#   cmake --preset test -D PATCHDIFF_PYTHON="$PWD/build/python" -D PATCHDIFF_TENSORBOARD="$PWD/build/python"
#
# A folder that is complete is left as it is.
set -eu
if [ $# != 1 ]; then
  echo "usage: sh tests/python/environment.sh FOLDER" >&2
  exit 2
fi
packages="torch==2.13.0 numpy safetensors tensorboard"
complete=$1/patchdiff-packages.txt # written last
if [ -f "$complete" ] && [ "$(cat "$complete")" = "$packages" ]; then
  exit 0
fi
echo "Installing into $1: $packages"
"${PYTHON:-python3}" -m venv "$1"
# shellcheck disable=SC2086 # a list of words
"$1/bin/python" -m pip --disable-pip-version-check install --quiet --no-compile --only-binary :all: $packages
echo "$packages" >"$complete"
