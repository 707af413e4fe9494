#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what patchdiff needs and this machine lacks:
#
#   sh packaging/dependencies.sh quickstart   to build and run the quick start
#   sh packaging/dependencies.sh test         to build everything and run the tests
#   sh packaging/dependencies.sh format       to check the format of the sources
#   sh packaging/dependencies.sh fuzz         to build and run the preset `fuzz`
#   sh packaging/dependencies.sh compilers    to try the headers with Debian's other compilers (C++20 and C++23)
#   sh packaging/dependencies.sh wheel        to install PyPI's LibTorch by packaging/torch_wheel.sh
#
# On Debian and its relatives through apt-get, as root or with sudo, and only when something is missing. On other
# systems it names what is missing and how vcpkg, Conan and Homebrew call it, and fails.
#
# PATCHDIFF_TORCH (LibTorch's folder, as for CMake) and CXX (the compiler) replace the system's.
set -eu

purpose=${1:-}
case $purpose in
  quickstart | test | format | fuzz | compilers | wheel) ;;
  *)
    echo "usage: sh packaging/dependencies.sh quickstart|test|format|fuzz|compilers|wheel" >&2
    exit 2
    ;;
esac

# purpose | kind | what to look for | Debian | vcpkg | Conan | Homebrew
# Kinds: a command, a C++ header, a file, a module of python3; `debian` is looked for on Debian alone, as a package.
needs() {
  cat <<'EOF'
build|command|g++|g++|a compiler: g++ 12 or newer|a compiler: g++ 12 or newer|gcc
build|command|cmake|cmake|CMake 3.25 or newer|cmake|cmake
build|command|ninja|ninja-build|Ninja|ninja|ninja
build|debian|-|ccache|-|-|-
build|header|torch/csrc/api/include/torch/torch.h|libtorch-dev|libtorch|libtorch|pytorch
build|debian|-|libopenblas0-pthread|-|-|-
build|header|fmt/format.h|libfmt-dev|fmt|fmt|fmt
build|header|eigen3/Eigen/Core|libeigen3-dev|eigen3|eigen|eigen
build|header|nlohmann/json.hpp|nlohmann-json3-dev|nlohmann-json|nlohmann_json|nlohmann-json
build|header|png.h|libpng-dev|libpng|libpng|libpng
build|header|jpeglib.h|libjpeg-dev|libjpeg-turbo|libjpeg-turbo|jpeg-turbo
build|header|zlib.h|zlib1g-dev|zlib|zlib|zlib
build|header|CLI/CLI.hpp|libcli11-dev|cli11|cli11|cli11
build|header|toml++/toml.h|libtomlplusplus-dev|tomlplusplus|tomlplusplus|tomlplusplus
build|file|/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz|dataset-fashion-mnist|the data set's own site|the data set's own site|the data set's own site
test|debian|-|libopenmpi-dev|-|-|-
test|debian|-|openmpi-bin|-|-|-
test|debian|-|libgloo-dev|-|-|-
test|debian|-|valgrind|-|-|-
test|debian|-|doxygen|-|-|-
test|header|catch2/catch.hpp|catch2|catch2|catch2|catch2
fuzz|command|cmake|cmake|CMake 3.25 or newer|cmake|cmake
fuzz|command|ninja|ninja-build|Ninja|ninja|ninja
fuzz|command|clang++|clang|clang|clang|llvm
fuzz|debian|-|libclang-rt-14-dev|-|-|-
fuzz|header|fmt/format.h|libfmt-dev|fmt|fmt|fmt
fuzz|header|eigen3/Eigen/Core|libeigen3-dev|eigen3|eigen|eigen
fuzz|header|nlohmann/json.hpp|nlohmann-json3-dev|nlohmann-json|nlohmann_json|nlohmann-json
fuzz|header|png.h|libpng-dev|libpng|libpng|libpng
fuzz|header|jpeglib.h|libjpeg-dev|libjpeg-turbo|libjpeg-turbo|jpeg-turbo
fuzz|header|zlib.h|zlib1g-dev|zlib|zlib|zlib
fuzz|header|catch2/catch.hpp|catch2|catch2|catch2|catch2
compilers|command|clang++-14|clang-14|clang 14|clang 14|clang 14
compilers|command|clang++-16|clang-16|clang 16|clang 16|clang 16
compilers|command|clang++-19|clang-19|clang 19|clang 19|clang 19
compilers|debian|-|libomp-19-dev|-|-|-
format|command|clang-format-14|clang-format-14|clang-format 14|clang-format 14|clang-format 14
wheel|command|python3|python3|Python 3.10 or newer|Python 3.10 or newer|python3
wheel|module|ensurepip|python3-venv|Python's venv|Python's venv|python3
EOF
}

wanted() { # purpose of the need
  case $purpose in
    test) [ "$1" = build ] || [ "$1" = test ] ;;
    quickstart) [ "$1" = build ] ;;
    *) [ "$1" = "$purpose" ] ;;
  esac
}

# Presets of an older CMake fail with a message that does not say so.
check_cmake() {
  case $purpose in
    format | compilers | wheel) return 0 ;;
  esac
  version=$(cmake --version | sed -n 's/^cmake version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
  # shellcheck disable=SC2086 # two numbers
  set -- $version
  if [ "$1" -lt 3 ] || { [ "$1" = 3 ] && [ "$2" -lt 25 ]; }; then
    echo "CMake 3.25 or newer is needed, this is $1.$2 (a newer one: pip install cmake)." >&2
    exit 1
  fi
}

has_module() { # Python module
  "${PYTHON:-python3}" -c "import $1" >/dev/null 2>&1
}

# -- Debian --------------------------------------------------------------------------------------------------------------

installed() { # package
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1; then
  missing=$(needs | while IFS='|' read -r use kind name package _; do
    wanted "$use" || continue
    # A tool from elsewhere will do, and so will a LibTorch from elsewhere.
    if [ "$kind" = command ] && command -v "$name" >/dev/null 2>&1; then continue; fi
    if [ "$package" = g++ ] && [ -n "${CXX:-}" ]; then continue; fi
    if [ "$kind" = module ] && has_module "$name"; then continue; fi
    case $package in
      libtorch-dev | libopenblas0-pthread) [ -z "${PATCHDIFF_TORCH:-}" ] || continue ;;
    esac
    installed "$package" || printf '%s ' "$package"
  done)
  if [ -z "$missing" ]; then
    check_cmake
    exit 0
  fi

  missing=${missing% }
  sudo=
  if [ "$(id -u)" != 0 ]; then
    sudo=sudo
    if ! command -v sudo >/dev/null 2>&1; then
      echo "Missing: $missing" >&2
      echo "Neither root nor sudo: ask an administrator for 'apt-get install $missing'." >&2
      exit 1
    fi
  fi
  echo "Installing: $missing"
  $sudo apt-get -qq update
  # shellcheck disable=SC2086 # a list of names
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing >/dev/null
  check_cmake
  exit 0
fi

# -- Other systems -------------------------------------------------------------------------------------------------------

include=
if command -v brew >/dev/null 2>&1; then
  include=-I$(brew --prefix)/include
fi

has_header() { # header
  # shellcheck disable=SC2086 # one flag or none
  printf '#if !__has_include(<%s>)\n#error missing\n#endif\n' "$1" |
    ${CXX:-c++} -std=c++20 $include -E -x c++ - >/dev/null 2>&1
}

missing=$(needs | while IFS='|' read -r use kind name package vcpkg conan homebrew; do
  wanted "$use" || continue
  case $kind in
    command)
      if [ "$package" = g++ ]; then name=${CXX:-c++}; fi
      command -v "$name" >/dev/null 2>&1 && continue
      ;;
    header)
      # What a toolchain file or a prefix path provides, CMake will find, or name.
      [ -z "${CMAKE_TOOLCHAIN_FILE:-}${CMAKE_PREFIX_PATH:-}" ] || continue
      if [ "$package" = libtorch-dev ] && [ -n "${PATCHDIFF_TORCH:-}" ]; then continue; fi
      if [ "$package" = catch2 ] && has_header catch2/catch_all.hpp; then continue; fi
      has_header "$name" && continue
      ;;
    file) [ -e "$name" ] && continue ;;
    module) has_module "$name" && continue ;;
    debian) continue ;;
  esac
  printf '  %-24s %-28s %-28s %s\n' "$package" "$vcpkg" "$conan" "$homebrew"
done)
if [ -z "$missing" ]; then
  check_cmake
  exit 0
fi

{
  echo "This system has no apt-get, so nothing is installed for you. Missing:"
  echo
  printf '  %-24s %-28s %-28s %s\n' Debian vcpkg Conan Homebrew
  echo "$missing"
  echo
  echo "vcpkg and Conan: set CMAKE_TOOLCHAIN_FILE to their toolchain file. LibTorch of a Python environment or a"
  echo "zip file: set PATCHDIFF_TORCH to its folder. Then run this command again."
} >&2
exit 1
