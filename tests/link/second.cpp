// SPDX-License-Identifier: Apache-2.0
#include "everything_backwards.hpp"

#include "what_this_file_sees.hpp"

std::vector<std::vector<double>> seen_by_the_second_file();

std::vector<std::vector<double>> seen_by_the_second_file() { return patchdiff::what_this_file_sees(); }
