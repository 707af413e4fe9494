#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu

if [ "${1:-}" = --help ]; then
  cat <<'EOF'
usage: sh examples/quickstart.sh [--out DIR] [--minutes M] [option...]

Installs what is missing (Debian), builds the quick start under build/quickstart and runs it: trains a model of
Fashion-MNIST on patches and draws whole images. All options go to the program, whose own follow here once it is built.

EOF
fi

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
program=$root/build/quickstart/examples/quickstart/quickstart
if [ "${1:-}" = --help ]; then
  if [ -x "$program" ]; then exec "$program" --help; fi
  exit 0
fi

sh "$root/packaging/dependencies.sh" quickstart
# Paths among the options are relative to where the user stands.
(cd "$root" && cmake --preset quickstart && cmake --build --preset quickstart)
exec "$program" "$@"
