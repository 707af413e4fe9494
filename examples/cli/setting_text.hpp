// SPDX-License-Identifier: Apache-2.0
// Settings as a command line and `info` write them.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/diffusion/formulation.hpp>

inline std::string setting_text(bool value) { return value ? "true" : "false"; }
inline std::string setting_text(std::int64_t value) { return fmt::format("{}", value); }
inline std::string setting_text(std::uint64_t value) { return fmt::format("{}", value); }
inline std::string setting_text(double value) { return fmt::format("{}", value); }
inline std::string setting_text(const std::string& value) { return value; }
inline std::string setting_text(patchdiff::ImageSize value) { return to_string(value); }
inline std::string setting_text(patchdiff::ImageShape value) { return to_string(value); }
template <class Item>
std::string setting_text(const std::vector<Item>& value) {
  return fmt::format("{}", fmt::join(value, ","));
}
template <patchdiff::NamedEnum Enum>
std::string setting_text(Enum value) {
  return std::string(patchdiff::name_of(value));
}
inline std::string setting_text(const patchdiff::Formulation& value) {
  std::string text(value.name());
  value.visit_settings([&](std::string_view key, double setting) { text += fmt::format(", {} {}", key, setting); });
  return text;
}

/// The parts of a text between commas; one empty part of an empty text.
inline std::vector<std::string> parts_of(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Reads what `setting_text` writes; false, with `value` as it was, for another text.
inline bool read_setting(std::string_view text, bool& value) {
  if (text != "true" && text != "false") return false;
  value = text == "true";
  return true;
}
template <class Number>
  requires std::is_arithmetic_v<Number>
bool read_setting(std::string_view text, Number& value) {
  const std::optional<Number> number = number_of<Number>(text);
  value = number.value_or(value);
  return number.has_value();
}
inline bool read_setting(std::string_view text, std::string& value) {
  value = text;
  return !text.empty();
}
template <class Item>
bool read_setting(std::string_view text, std::vector<Item>& value) {
  std::vector<Item> items;
  for (const std::string& part : parts_of(text)) {
    if (!read_setting(part, items.emplace_back())) return false;
  }
  value = items;
  return true;
}
template <patchdiff::NamedEnum Enum>
bool read_setting(std::string_view text, Enum& value) {
  const std::optional<Enum> named = patchdiff::value_named<Enum>(text);
  value = named.value_or(value);
  return named.has_value();
}

/// A type of settings that a command line can give.
template <class Value>
concept TextSetting = requires(std::string_view text, Value& value) {
  read_setting(text, value);
};

/// What `read_setting` takes, for messages.
inline std::string setting_form(bool) { return "true or false"; }
inline std::string setting_form(std::int64_t) { return "a whole number"; }
inline std::string setting_form(std::uint64_t) { return "a whole number of at least 0"; }
inline std::string setting_form(double) { return "a number"; }
inline std::string setting_form(const std::string&) { return "a text"; }
inline std::string setting_form(const std::vector<std::int64_t>&) { return "whole numbers with commas between"; }
inline std::string setting_form(const std::vector<double>&) { return "numbers with commas between"; }
inline std::string setting_form(const std::vector<std::string>&) { return "texts with commas between"; }
template <patchdiff::NamedEnum Enum>
std::string setting_form(Enum) {
  return fmt::format("{}", fmt::join(patchdiff::all_names<Enum>(), " or "));
}
