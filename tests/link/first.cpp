// SPDX-License-Identifier: Apache-2.0
#include "everything_forwards.hpp"

std::string of_second_file(patchdiff::ImageShape shape);

int main() {
  const patchdiff::ImageShape shape{3, 32, 64};
  return patchdiff::to_string(shape) == of_second_file(shape) ? 0 : 1;
}
