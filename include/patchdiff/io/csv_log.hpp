// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/append_file.hpp>

namespace patchdiff {

/// A table of numbers that grows by one line per call, as CSV; others see of it what they see of an AppendFile.
///
/// A file that has the same columns is continued (a last line without an end is cut off); any other is refused.
/// Numbers are written in the shortest form that reads back as the same value; `nan` and `inf` are written so.
/// Errors: ConfigError for columns; ShapeError for a row; DataError for another file; FileError, after which the file
/// still ends with its last whole line.
class CsvLog {
 public:
  /// An integer or floating-point number, as text.
  class Number {
   public:
    /// Any arithmetic value.
    template <class Value, class = std::enable_if_t<std::is_arithmetic_v<Value>>>
    Number(Value value) : text_(str(value)) {}

    const std::string& text() const noexcept { return text_; }

   private:
    std::string text_;
  };

  /// Opens the log; a new one gets its first line, the names of the columns.
  CsvLog(const std::filesystem::path& path, const std::vector<std::string>& columns)
      : columns_(checked_count(columns)), file_(path, "CsvLog", "line") {
    const std::string header = str(join(columns, ","), '\n');
    const std::string text = file_.text();
    const std::string_view whole = std::string_view(text).substr(0, text.rfind('\n') + 1);
    if (whole.empty() ? !header.starts_with(text) : !whole.starts_with(header)) {
      refuse<DataError>("CsvLog", path.string(), str("a log of \"", header.substr(0, header.size() - 1), '"'),
                        str('"', text.substr(0, std::min<std::size_t>(text.find('\n'), 80)), '"'));
    }
    file_.cut(whole.size());
    if (whole.empty()) file_.append(header);
  }

  /// Adds one line, in the order of the columns.
  void append(const std::vector<Number>& row) {
    if (row.size() != columns_) {
      refuse<ShapeError>("CsvLog", "row", str(columns_, " values"), str(row.size()));
    }
    std::string line;
    for (const Number& number : row) line.append(number.text()).push_back(',');
    line.back() = '\n';
    file_.append(line);
  }

  /// Waits until the lines are on the disk.
  void sync() const { file_.sync(); }

 private:
  static std::size_t checked_count(const std::vector<std::string>& columns) {
    require<ConfigError>(!columns.empty(), "CsvLog", "columns", "at least one", "none");
    std::set<std::string_view> names;
    for (const std::string& name : columns) {
      if (name.empty() || name.find_first_of(",\"\r\n") != std::string::npos || !names.insert(name).second) {
        refuse<ConfigError>("CsvLog", "columns", "different names without commas, quotes and line ends",
                            str('"', name, '"'));
      }
    }
    return columns.size();
  }

  std::size_t columns_;
  AppendFile file_;
};

}  // namespace patchdiff
