#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a Python environment with Conan for the test package.conan (60 MB):
#
#   sh tests/package/environment.sh build/conan
#   cmake --preset test -D PATCHDIFF_CONAN="$PWD/build/conan/bin/conan"
#
# A folder that is complete is left as it is.
set -eu
if [ $# != 1 ]; then
  echo "usage: sh tests/package/environment.sh FOLDER" >&2
  exit 2
fi
packages="conan==2.34.0"
complete=$1/patchdiff-packages.txt # written last
if [ -f "$complete" ] && [ "$(cat "$complete")" = "$packages" ]; then
  exit 0
fi
echo "Installing into $1: $packages"
"${PYTHON:-python3}" -m venv "$1"
"$1/bin/python" -m pip --disable-pip-version-check install --quiet --no-compile "$packages"
echo "$packages" >"$complete"
