// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace patchdiff {

namespace str_parts {

inline void append(std::string& text, std::string_view part) { text += part; }

template <class Number>
  requires std::is_arithmetic_v<Number>
void append(std::string& text, Number number) {
  std::array<char, 32> digits;
  const auto keep = [&](std::to_chars_result made) { text.append(digits.data(), made.ptr); };
  if constexpr (std::same_as<Number, bool>) {
    text += number ? "true" : "false";
  } else if constexpr (std::same_as<Number, char>) {
    text += number;
  } else if constexpr (std::integral<Number>) {
    keep(std::to_chars(digits.data(), digits.data() + digits.size(), number));
  } else {
    const double size = std::abs(static_cast<double>(number));
    const bool is_plain = size == 0 || (size >= 1e-4 && size < 1e16);
    keep(std::to_chars(digits.data(), digits.data() + digits.size(), number,
                       is_plain ? std::chars_format::fixed : std::chars_format::scientific));
  }
}

}  // namespace str_parts

/// Texts, characters and numbers, one after another.
///
/// A floating-point number has as few digits as read back the same, with an exponent below 1e-4 and from 1e16 on; the
/// locale counts for nothing.
template <class... Parts>
std::string str(const Parts&... parts) {
  std::string text;
  (str_parts::append(text, parts), ...);
  return text;
}

/// What `str` makes of each item, with `separator` between them.
template <class Items>
std::string join(const Items& items, std::string_view separator) {
  std::string text;
  bool is_first = true;
  for (const auto& item : items) {
    if (!is_first) text += separator;
    str_parts::append(text, item);
    is_first = false;
  }
  return text;
}

/// A number by its first `digits` significant digits, the zeros at their end left out.
inline std::string shortened(double number, int digits) {
  std::array<char, 64> letters;
  const auto made =
      std::to_chars(letters.data(), letters.data() + letters.size(), number, std::chars_format::general, digits);
  return {letters.data(), made.ptr};
}

/// A number with `decimals` digits after its point, all digits before it.
inline std::string fixed(double number, int decimals) {
  std::array<char, 352> letters;  // the largest double has 309 before it
  const auto made =
      std::to_chars(letters.data(), letters.data() + letters.size(), number, std::chars_format::fixed, decimals);
  return {letters.data(), made.ptr};
}

/// A whole number >= 0 with zeros before it, `width` digits or more in all; in base 16 they are small letters.
template <std::integral Number>
std::string padded(Number number, std::size_t width, int base = 10) {
  std::array<char, 64> letters;
  const auto made = std::to_chars(letters.data(), letters.data() + letters.size(), number, base);
  const std::string text(letters.data(), made.ptr);
  return std::string(width - std::min(width, text.size()), '0') + text;
}

}  // namespace patchdiff
