// SPDX-License-Identifier: Apache-2.0
// Options of the command line that come from described settings.
#pragma once

#include <algorithm>
#include <concepts>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <patchdiff/core/describe.hpp>
#include <patchdiff/core/error.hpp>

#include "setting_text.hpp"

/// A command line that the program does not understand; it exits with 2.
class UsageError : public patchdiff::ConfigError {
 public:
  using ConfigError::ConfigError;
};

/// `full_image_probability` as `--full-image-probability`.
inline std::string option_name(std::string_view key) {
  std::string name = fmt::format("--{}", key);
  for (char& letter : name) letter = letter == '_' ? '-' : letter;
  return name;
}

/// One option with a value of any type that `read_setting` reads.
template <TextSetting Value>
CLI::Option* add_value(CLI::App& command, const std::string& name, const std::string& help,
                       std::function<void(Value)> take) {
  const auto read = [component = command.get_name(), name, help, take = std::move(take)](const std::string& text) {
    Value value{};
    if constexpr (std::same_as<Value, bool>) {
      if (text.empty()) return take(true);
    }
    if (!read_setting(text, value)) {
      throw UsageError(component, name, fmt::format("{} ({})", setting_form(value), help), fmt::format("\"{}\"", text));
    }
    take(std::move(value));
  };
  // The last value counts: a configuration's come first.
  CLI::Option* option = command.add_option_function<std::string>(name, read, help)
                            ->type_name("")
                            ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  if constexpr (std::same_as<Value, bool>) option->expected(0, 1);  // alone, it is true
  return option;
}

/// What the command line says about described settings: kept until the defaults that a model file holds are in place.
class GivenSettings {
 public:
  /// Adds an option for each setting that a text can say, those in `except` left out; `options` must outlive this.
  template <patchdiff::Described Options>
  void add_to(CLI::App& command, const std::string& group, Options& options,
              const std::set<std::string_view>& except = {}) {
    patchdiff::describe(options, [&](std::string_view key, auto& value, std::string_view help) {
      using Value = std::remove_cvref_t<decltype(value)>;
      if constexpr (TextSetting<Value>) {
        if (except.contains(key)) return;
        const auto take = [this, name = option_name(key), &value](Value given) {
          names_.push_back(name);
          assignments_.push_back([&value, given = std::move(given)] { value = given; });
        };
        CLI::Option* option = add_value<Value>(command, option_name(key), std::string(help), take)->group(group);
        // CLI11 would take a default for the value of an option that stands alone.
        if constexpr (std::same_as<Value, bool>) {
          if (value) option->description(fmt::format("{} (default: true)", help));
        } else {
          option->default_str(setting_text(value));
        }
      }
    });
  }

  /// The options that were given.
  const std::vector<std::string>& names() const noexcept { return names_; }

  /// Refuses an option that would do nothing, if it was given; `expected` says why. Errors: ConfigError.
  void require_none(std::string_view component, const std::string& option, std::string_view expected) const {
    if (std::find(names_.begin(), names_.end(), option) == names_.end()) return;
    throw patchdiff::ConfigError(component, option, expected, "one");
  }

  void apply() const {
    for (const auto& assign : assignments_) assign();
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::function<void()>> assignments_;
};
