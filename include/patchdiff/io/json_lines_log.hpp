// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/append_file.hpp>
#include <patchdiff/io/json_quoted.hpp>

namespace patchdiff {

/// A log that grows by one JSON object per call, each on a line of its own; others see of it what they see of an
/// AppendFile.
///
/// A file of such lines is continued, and any other refused; a last line without an end gets one if it is an object, or
/// is cut off.
/// Numbers are written in the shortest form that reads back as the same value; JSON has no `nan` and `inf`, which are
/// written as `null`.
/// Errors: DataError for another file, for a name that comes twice and for what is not UTF-8; FileError, after which
/// the file still ends with its last whole line.
class JsonLinesLog {
 public:
  /// A number, a truth value or a text, as JSON.
  class Value {
   public:
    /// Any arithmetic value.
    template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
    Value(Number value) : json_(str(value)) {
      if constexpr (std::is_floating_point_v<Number>) {
        if (!std::isfinite(value)) json_ = "null";
      }
    }
    Value(const std::string& text) : json_(json_quoted(component, text)) {}
    Value(const char* text) : Value(std::string(text)) {}

    const std::string& json() const noexcept { return json_; }

   private:
    std::string json_;
  };

  /// Opens the log, or makes an empty one.
  explicit JsonLinesLog(const std::filesystem::path& path) : file_(path, component, "line") {
    const std::string text = file_.text();
    const std::size_t first_end = text.find('\n');
    const std::string first = text.substr(0, first_end);
    const bool ours = first_end == std::string::npos ? text.empty() || text.front() == '{' : is_object(first);
    if (!ours) {
      refuse<DataError>(component, path.string(), "a log of JSON objects", str('"', first.substr(0, 80), '"'));
    }
    const std::size_t last = text.rfind('\n') + 1;
    if (is_object(text.substr(last))) {
      file_.append("\n");
    } else {
      file_.cut(last);
    }
  }

  /// Adds one line: an object with these names and values, in their order.
  void append(const std::vector<std::pair<std::string, Value>>& fields) {
    std::set<std::string_view> names;
    std::vector<std::string> items;
    for (const auto& [name, value] : fields) {
      const std::string quoted = json_quoted(component, name);
      if (!names.insert(name).second) refuse<DataError>(component, "fields", "each name once", quoted);
      items.push_back(str(quoted, ':', value.json()));
    }
    file_.append(str('{', join(items, ","), "}\n"));
  }

  /// Waits until the lines are on the disk.
  void sync() const { file_.sync(); }

 private:
  static constexpr const char* component = "JsonLinesLog";

  static bool is_object(const std::string& line) { return nlohmann::json::parse(line, nullptr, false).is_object(); }

  AppendFile file_;
};

}  // namespace patchdiff
