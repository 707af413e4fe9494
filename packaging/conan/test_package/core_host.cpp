// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include <patchdiff/core/image_size.hpp>

int main() { std::puts(patchdiff::to_string(patchdiff::ImageShape{3, 32, 64}).c_str()); }
