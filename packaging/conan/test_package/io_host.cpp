// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/png.hpp>

int main() { return patchdiff::encode_png({.shape = {1, 2, 2}, .pixels = {0, 85, 170, 255}}).size() > 8 ? 0 : 1; }
