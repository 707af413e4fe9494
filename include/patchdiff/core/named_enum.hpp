// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace patchdiff {

/// One value of an enumeration, and what files and command lines call it.
template <class Enum>
struct NamedValue {
  Enum value;
  std::string_view name;
};

/// An enumeration whose values have names: beside it stands `value_names(Enum)`, which lists a NamedValue of each.
template <class Enum>
concept NamedEnum = std::is_enum_v<Enum> && requires(Enum value) {
  std::span<const NamedValue<Enum>>(value_names(value));
};

template <NamedEnum Enum>
std::string_view name_of(Enum value) {
  const std::span<const NamedValue<Enum>> all(value_names(value));
  return std::find_if(all.begin(), all.end(), [&](const auto& named) { return named.value == value; })->name;
}

/// The value of that name, or nothing.
template <NamedEnum Enum>
std::optional<Enum> value_named(std::string_view name) {
  for (const NamedValue<Enum>& named : std::span<const NamedValue<Enum>>(value_names(Enum{}))) {
    if (named.name == name) return named.value;
  }
  return std::nullopt;
}

/// Every name, in the order of the list.
template <NamedEnum Enum>
std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const NamedValue<Enum>& named : std::span<const NamedValue<Enum>>(value_names(Enum{}))) {
    names.emplace_back(named.name);
  }
  return names;
}

}  // namespace patchdiff
