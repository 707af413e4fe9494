// SPDX-License-Identifier: Apache-2.0
#include "everything_forwards.hpp"

#include "what_this_file_sees.hpp"

std::vector<std::vector<double>> seen_by_the_second_file();

int main() { return patchdiff::what_this_file_sees() == seen_by_the_second_file() ? 0 : 1; }
