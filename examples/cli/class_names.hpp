// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/nearest_name.hpp>

#include "setting_text.hpp"

/// The numbers of all classes; none of a model without.
inline std::vector<std::int64_t> all_classes(std::int64_t count) {
  std::vector<std::int64_t> classes(static_cast<std::size_t>(count));
  std::iota(classes.begin(), classes.end(), 0);
  return classes;
}

/// Checks names that a user gives to classes. Errors: ConfigError.
inline void check_class_names(const std::vector<std::string>& names, std::int64_t classes) {
  if (static_cast<std::int64_t>(names.size()) != classes) {
    throw patchdiff::ConfigError("train", "--class-names", fmt::format("{} names", classes),
                                 fmt::format("{}", names.size()));
  }
  if (std::set<std::string>(names.begin(), names.end()).size() != names.size()) {
    throw patchdiff::ConfigError("train", "--class-names", "different names", fmt::format("{}", fmt::join(names, ",")));
  }
}

/// The numbers of classes that stand as names or numbers; a word that is both is taken as the name.
///
/// Errors: ConfigError that says how far the numbers go, names the nearest class, or says that there is none.
inline std::vector<std::int64_t> classes_of(const std::vector<std::string>& words,
                                            const std::vector<std::string>& names) {
  if (names.empty()) throw patchdiff::ConfigError("sample", "--class", "none, as the model has no classes", "some");
  const auto count = static_cast<std::int64_t>(names.size());
  std::vector<std::int64_t> classes;
  for (const std::string& word : words) {
    const auto named = std::find(names.begin(), names.end(), word);
    const std::optional<std::int64_t> number = number_of<std::int64_t>(word);
    if (named != names.end()) {
      classes.push_back(named - names.begin());
    } else if (number && *number >= 0 && *number < count) {
      classes.push_back(*number);
    } else {
      throw patchdiff::ConfigError(
          "sample", "--class",
          number ? fmt::format("a class from 0 to {}", count - 1)
                 : fmt::format("a class of the model such as \"{}\"", patchdiff::nearest_name(word, names)),
          fmt::format("\"{}\"", word));
    }
  }
  return classes;
}
