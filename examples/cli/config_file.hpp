// SPDX-License-Identifier: Apache-2.0
// A run's settings as a TOML file: the options of the command line under their own names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>

#include <patchdiff/core/describe.hpp>
#include <patchdiff/core/named_enum.hpp>

#include "setting_text.hpp"

/// The words of a command line with those of the file after `--config` put in, before all others.
///
/// A key is an option's name with `_` for `-`, at the top, or in a table named as the option's group.
/// Errors: UsageError for a key or a value that is not known; FileError and DataError for a file that cannot be read.
std::vector<std::string> with_config(const CLI::App& command, std::vector<std::string> words);

inline std::int64_t toml_value(std::uint64_t value) { return static_cast<std::int64_t>(value); }
template <class Value>
  requires(std::is_same_v<Value, bool> || std::is_same_v<Value, double> || std::is_same_v<Value, std::int64_t> ||
           std::is_same_v<Value, std::string>)
Value toml_value(const Value& value) { return value; }
template <patchdiff::NamedEnum Enum>
std::string toml_value(Enum value) {
  return std::string(patchdiff::name_of(value));
}
template <class Item>
toml::array toml_value(const std::vector<Item>& items) {
  toml::array values;
  for (const Item& item : items) values.push_back(item);
  return values;
}

/// Adds described settings to a table, under the names that `with_config` reads.
template <patchdiff::Described Options>
void add_to_table(toml::table& table, const Options& options, const std::vector<std::string_view>& except = {}) {
  patchdiff::describe(options, [&](std::string_view key, const auto& value, std::string_view) {
    if constexpr (TextSetting<std::remove_cvref_t<decltype(value)>>) {
      for (const std::string_view other : except) {
        if (key == other) return;
      }
      table.insert(key, toml_value(value));
    }
  });
}

/// Writes a table; the file appears when it is whole. Errors: FileError.
void write_toml(const std::filesystem::path& path, const toml::table& table);
