// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <patchdiff/core/describe.hpp>
#include <patchdiff/io/read_file.hpp>
#include <patchdiff/io/settings_json.hpp>

namespace patchdiff {

/// Options from a JSON file that a person wrote: keys that are missing keep their defaults.
///
/// Errors: FileError for a file that cannot be read; DataError, naming it, for an unknown key or an unsound value.
template <Described Options>
Options read_settings(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = read_file(path, {.component = "read_settings", .maximum_bytes = 1 << 20});
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  Options options;
  settings_json::read(settings_json::parse(text), options, path.string(), settings_json::Keys::some);
  return options;
}

}  // namespace patchdiff
