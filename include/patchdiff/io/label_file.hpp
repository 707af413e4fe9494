// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/read_file.hpp>

namespace patchdiff {

/// The class of each file, by its path relative to the data set's folder, with slashes.
using FileLabels = std::map<std::string, std::int64_t>;

/// Reads the `dataset.json` of EDM's dataset tool: `{"labels": [["relative/path.png", class], ...]}`; none for null.
///
/// Errors: FileError if it cannot be read; DataError, naming the file, unless it is such a list, each file once and
/// each class a whole number of at least 0, or if it is larger than `maximum_bytes`.
inline std::optional<FileLabels> read_label_file(const std::filesystem::path& path,
                                                 std::uint64_t maximum_bytes = std::uint64_t{1} << 30) {
  using Json = nlohmann::json;
  const auto refuse = [&](std::string_view expected, std::string_view got) {
    throw DataError("read_label_file", path.string(), expected, got);
  };
  const auto excerpt = [](const Json& json) {
    const std::string text = json.dump(-1, ' ', true, Json::error_handler_t::replace);
    constexpr std::size_t longest = 80;
    return text.size() <= longest ? text : text.substr(0, longest) + "...";
  };

  const std::vector<std::byte> bytes =
      read_file(path, {.component = "read_label_file", .maximum_bytes = maximum_bytes});
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  Json json;
  try {
    json = Json::parse(text, text + bytes.size());
  } catch (const Json::parse_error& error) {
    refuse("JSON", fmt::format("an error at byte {}", error.byte));
  }
  if (!json.is_object() || !json.contains("labels")) refuse("an object with \"labels\"", excerpt(json));
  const Json& entries = json["labels"];
  if (entries.is_null()) return std::nullopt;
  if (!entries.is_array()) refuse("a list or null as \"labels\"", excerpt(entries));

  FileLabels labels;
  for (const Json& entry : entries) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string()) refuse("[\"path\", class]", excerpt(entry));
    constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (!entry[1].is_number_unsigned() || entry[1].get<std::uint64_t>() > largest) {
      refuse(fmt::format("a class of 0 or more for {}", excerpt(entry[0])), excerpt(entry[1]));
    }
    if (!labels.emplace(entry[0].get<std::string>(), entry[1].get<std::int64_t>()).second) {
      refuse("each file once", fmt::format("{} again", excerpt(entry[0])));
    }
  }
  return labels;
}

}  // namespace patchdiff
