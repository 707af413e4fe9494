// SPDX-License-Identifier: Apache-2.0
// A run's settings as a TOML file: the options of the command line under their own names.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <patchdiff/core/describe.hpp>

#include "setting_text.hpp"

/// The words of a command line with those of the file after `--config` put in, before all others.
///
/// Of `--images` and `--minutes`, the command line's takes the place of the file's. A key is an option's name with `_`
/// for `-`, at the top, or in a table named as the option's group. Errors: UsageError for a key or a value that is not
/// known, and for a second file; FileError and DataError for a file that cannot be read.
std::vector<std::string> with_config(const CLI::App& command, std::vector<std::string> words);

/// The text of such a file.
class ConfigText {
 public:
  void table(std::string_view name) { text_ += fmt::format("\n[{}]\n", name); }

  template <TextSetting Value>
  void add(std::string_view key, const Value& value) {
    text_ += fmt::format("{} = {}\n", key, form(value));
  }

  /// Every field of described settings that a text can say.
  template <patchdiff::Described Options>
  void add_all(const Options& options, const std::set<std::string_view>& except = {}) {
    patchdiff::describe(options, [&](std::string_view key, const auto& value, std::string_view) {
      if constexpr (TextSetting<std::remove_cvref_t<decltype(value)>>) {
        if (!except.contains(key)) add(key, value);
      }
    });
  }

  const std::string& text() const noexcept { return text_; }

 private:
  /// TOML's integers are signed.
  static std::string form(std::uint64_t value) {
    return std::in_range<std::int64_t>(value) ? setting_text(value) : quoted(setting_text(value));
  }
  template <class Value>
  static std::string form(const Value& value) {
    if constexpr (std::is_arithmetic_v<Value>) {
      return setting_text(value);
    } else {
      return quoted(setting_text(value));
    }
  }
  template <class Item>
  static std::string form(const std::vector<Item>& items) {
    std::vector<std::string> forms;
    for (const Item& item : items) forms.push_back(form(item));
    return fmt::format("[{}]", fmt::join(forms, ", "));
  }
  static std::string quoted(const std::string& text);

  std::string text_;
};
