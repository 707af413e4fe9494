// SPDX-License-Identifier: Apache-2.0
// Catches what the host's library lets through.
#include <cstdio>
#include <exception>

#include <patchdiff/core/error.hpp>

int crop(int side);

int main() {
  if (crop(4) != 16) return 1;
  try {
    crop(0);
  } catch (const patchdiff::ShapeError& error) {
    std::printf("%s refused %s\n", error.component().c_str(), error.argument().c_str());
    return 0;
  } catch (const std::exception& error) {
    std::printf("unexpected: %s\n", error.what());
  }
  return 1;
}
