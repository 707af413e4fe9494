// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

namespace patchdiff {

/// A process group of one.
class SingleProcess {
 public:
  struct Sum {};

  int rank() const noexcept { return 0; }
  int size() const noexcept { return 1; }
  Sum start_sum(std::span<float>) const noexcept { return {}; }
  Sum start_sum(std::span<double>) const noexcept { return {}; }
  void wait(Sum&, std::string_view) const noexcept {}
};

}  // namespace patchdiff
