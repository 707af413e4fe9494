// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/read_file.hpp>

namespace patchdiff {

/// A table of numbers that grows by one line per call, as CSV; whoever reads it meanwhile sees whole lines.
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
    template <class Value, class = std::enable_if_t<std::is_arithmetic_v<Value>>>
    Number(Value value) : text_(fmt::format("{}", value)) {}

    const std::string& text() const noexcept { return text_; }

   private:
    std::string text_;
  };

  /// Opens the log; a new one gets its first line, the names of the columns.
  CsvLog(std::filesystem::path path, const std::vector<std::string>& columns)
      : path_(std::move(path)), columns_(columns.size()) {
    require_columns(columns);
    const std::string header = fmt::format("{}\n", fmt::join(columns, ","));
    std::error_code unknown;
    if (std::filesystem::is_regular_file(path_, unknown)) resume(header);
    file_.reset(std::fopen(path_.string().c_str(), "ab"));
    if (file_ == nullptr) refuse("a writable file", {errno, std::generic_category()});
    std::setvbuf(file_.get(), nullptr, _IONBF, 0);
    if (size_ == 0) write(header);
  }

  /// Adds one line, in the order of the columns.
  void append(const std::vector<Number>& row) {
    if (row.size() != columns_) {
      throw ShapeError("CsvLog", "row", fmt::format("{} values", columns_), fmt::format("{}", row.size()));
    }
    std::string line;
    for (const Number& number : row) line.append(number.text()).push_back(',');
    line.back() = '\n';
    write(line);
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };

  [[noreturn]] void refuse(std::string_view expected, std::error_code reason) const {
    throw FileError("CsvLog", path_.string(), expected, fmt::format("\"{}\"", reason.message()));
  }

  static void require_columns(const std::vector<std::string>& columns) {
    if (columns.empty()) throw ConfigError("CsvLog", "columns", "at least one", "none");
    std::set<std::string_view> names;
    for (const std::string& name : columns) {
      if (name.empty() || name.find_first_of(",\"\r\n") != std::string::npos || !names.insert(name).second) {
        throw ConfigError("CsvLog", "columns", "different names without commas, quotes and line ends",
                          fmt::format("\"{}\"", name));
      }
    }
  }

  void resume(std::string_view header) {
    const std::vector<std::byte> bytes = read_file(path_, {.component = "CsvLog"});
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    const std::string_view whole = text.substr(0, text.rfind('\n') + 1);
    if (whole.empty() ? !header.starts_with(text) : !whole.starts_with(header)) {
      throw DataError("CsvLog", path_.string(), fmt::format("a log of \"{}\"", header.substr(0, header.size() - 1)),
                      fmt::format("\"{}\"", text.substr(0, std::min<std::size_t>(text.find('\n'), 80))));
    }
    std::error_code refused;
    if (whole.size() < text.size()) std::filesystem::resize_file(path_, whole.size(), refused);
    if (refused) refuse("a writable file", refused);
    size_ = whole.size();
  }

  void write(std::string_view line) {
    if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size()) {
      const std::error_code reason{errno, std::generic_category()};
      std::clearerr(file_.get());
      std::error_code ignored;
      std::filesystem::resize_file(path_, size_, ignored);
      refuse("a complete line", reason);
    }
    size_ += line.size();
  }

  std::filesystem::path path_;
  std::size_t columns_;
  std::unique_ptr<std::FILE, Close> file_{};
  std::uintmax_t size_ = 0;
};

}  // namespace patchdiff
