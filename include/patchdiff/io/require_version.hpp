// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// Refuses a file of another version of its format than `known`, a whole number; `older` says what to do with an older
/// one.
///
/// Errors: VersionError naming the file; DataError for what is no version.
inline void require_version(std::string_view component, const std::string& file, std::string_view known,
                            std::string_view got, std::string_view older) {
  if (got == known) return;
  const bool number = !got.empty() && got.find_first_not_of("0123456789") == std::string_view::npos;
  const bool is_newer = got.size() != known.size() ? got.size() > known.size() : got > known;
  const std::string expected = str("version ", known);
  if (!number) refuse<DataError>(component, file, expected, str('"', got, '"'));
  refuse<VersionError>(
      component, file, expected,
      is_newer ? str(got, ", of a newer patchdiff: use that one") : str(got, ", of an older patchdiff: ", older));
}

}  // namespace patchdiff
