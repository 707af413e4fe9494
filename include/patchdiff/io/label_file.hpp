// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/json_depth.hpp>
#include <patchdiff/io/read_file.hpp>

namespace patchdiff {

/// The class of each file, by its path relative to the data set's folder, with slashes.
using FileLabels = std::map<std::string, std::int64_t>;

/// Reads the `dataset.json` of EDM's dataset tool: `{"labels": [["relative/path.png", class], ...]}`; none for null.
///
/// Errors: FileError if it cannot be read; DataError, naming the file, unless it is such a list, each file once and
/// each class a whole number from 0 to 2^31 - 1, or if it is larger than `maximum_bytes`.
inline std::optional<FileLabels> read_label_file(const std::filesystem::path& path,
                                                 std::uint64_t maximum_bytes = std::uint64_t{1} << 30) {
  using Json = nlohmann::json;
  const auto refuse_file = [&](std::string_view expected, std::string_view got) {
    refuse<DataError>("read_label_file", path.string(), expected, got);
  };
  const auto excerpt = [](const Json& json) {
    const std::string text = json.dump(-1, ' ', true, Json::error_handler_t::replace);
    constexpr std::size_t longest = 80;
    return text.size() <= longest ? text : text.substr(0, longest) + "...";
  };

  const std::vector<std::byte> bytes =
      read_file(path, {.component = "read_label_file", .maximum_bytes = maximum_bytes});
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!is_shallow_json(text)) refuse_file(str("JSON of at most ", most_json_levels, " levels"), "more");
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::parse_error& error) {
    refuse_file("JSON", str("an error at byte ", error.byte));
  } catch (const Json::exception& error) {
    refuse_file("JSON of numbers that double holds", error.what());
  }
  if (!json.is_object() || !json.contains("labels")) refuse_file("an object with \"labels\"", excerpt(json));
  const Json& entries = json["labels"];
  if (entries.is_null()) return std::nullopt;
  if (!entries.is_array()) refuse_file("a list or null as \"labels\"", excerpt(entries));

  FileLabels labels;
  for (const Json& entry : entries) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string()) {
      refuse_file("[\"path\", class]", excerpt(entry));
    }
    constexpr std::uint64_t most_classes = std::uint64_t{1} << 31;
    if (!entry[1].is_number_unsigned() || entry[1].get<std::uint64_t>() >= most_classes) {
      refuse_file(str("a class from 0 to ", most_classes - 1, " for ", excerpt(entry[0])), excerpt(entry[1]));
    }
    if (!labels.emplace(entry[0].get<std::string>(), entry[1].get<std::int64_t>()).second) {
      refuse_file("each file once", str(excerpt(entry[0]), " again"));
    }
  }
  return labels;
}

}  // namespace patchdiff
