// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace patchdiff {

/// Nothing of ours nests JSON deeper.
constexpr int most_json_levels = 64;

/// Whether a text's brackets nest no deeper than that: what writes JSON out again calls itself for each level, so that
/// a hostile file would use up the stack.
constexpr bool is_shallow_json(std::string_view text) noexcept {
  bool quoted = false;
  int level = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char letter = text[at];
    if (letter == '"') quoted = !quoted;
    if (!quoted) {
      if (letter == '[' || letter == '{') ++level;
      if (letter == ']' || letter == '}') --level;
      if (level > most_json_levels) return false;
    } else if (letter == '\\') {
      ++at;
    }
  }
  return true;
}

}  // namespace patchdiff
