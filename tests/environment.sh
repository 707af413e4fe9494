#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a Python environment for tests; a folder that is complete is left as it is:
#
#   sh tests/environment.sh python build/python   for the labels `python` and `tensorboard` (5 GB: PyPI's torch brings CUDA)
#   sh tests/environment.sh conan build/conan     for the tests package.conan* (60 MB)
#   cmake --preset test -D PATCHDIFF_PYTHON="$PWD/build/python" -D PATCHDIFF_TENSORBOARD="$PWD/build/python" \
#     -D PATCHDIFF_CONAN="$PWD/build/conan/bin/conan"
set -eu
case $#:${1:-} in
  2:python) packages="torch==2.13.0 numpy safetensors tensorboard" options="--only-binary :all:" ;;
  2:conan) packages="conan==2.34.0" options="" ;; # some of what it needs is sources
  *)
    echo "usage: sh tests/environment.sh python|conan FOLDER" >&2
    exit 2
    ;;
esac
complete=$2/patchdiff-packages.txt # written last
if [ -f "$complete" ] && [ "$(cat "$complete")" = "$packages" ]; then
  exit 0
fi
echo "Installing into $2: $packages"
"${PYTHON:-python3}" -m venv "$2"
# shellcheck disable=SC2086 # lists of words
"$2/bin/python" -m pip --disable-pip-version-check install --quiet --no-compile $options $packages
echo "$packages" >"$complete"
