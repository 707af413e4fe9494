// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <map>
#include <optional>
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

/// An enumeration whose values have names: beside it stands `value_names(Enum)`, an array with a NamedValue of each.
template <class Enum>
concept NamedEnum = std::is_enum_v<Enum> && requires(Enum value) {
  { value_names(value)[0] } -> std::convertible_to<NamedValue<Enum>>;
};

/// The name of a value; see value_names.
template <NamedEnum Enum>
constexpr std::string_view name_of(Enum value) {
  for (const NamedValue<Enum> named : value_names(value)) {
    if (named.value == value) return named.name;
  }
  return {};
}

/// The value of that name, or nothing.
template <NamedEnum Enum>
constexpr std::optional<Enum> value_named(std::string_view name) {
  for (const NamedValue<Enum> named : value_names(Enum{})) {
    if (named.name == name) return named.value;
  }
  return std::nullopt;
}

/// Every value by its name, as parsers of command lines take them.
template <NamedEnum Enum>
std::map<std::string, Enum> values_by_name() {
  std::map<std::string, Enum> values;
  for (const NamedValue<Enum> named : value_names(Enum{})) values.emplace(named.name, named.value);
  return values;
}

/// Every name, in the order of the list.
template <NamedEnum Enum>
std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const NamedValue<Enum> named : value_names(Enum{})) names.emplace_back(named.name);
  return names;
}

}  // namespace patchdiff
