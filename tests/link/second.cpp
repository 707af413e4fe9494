// SPDX-License-Identifier: Apache-2.0
#include "everything_backwards.hpp"

std::string of_second_file(patchdiff::ImageShape shape);

std::string of_second_file(patchdiff::ImageShape shape) { return patchdiff::to_string(shape); }
