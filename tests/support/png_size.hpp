// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include <patchdiff/core/image_size.hpp>

#include "support/catch.hpp"
#include "support/files.hpp"

/// Height and width of a PNG file that is whole: signature at the beginning, IEND at the end.
inline patchdiff::ImageSize png_size(const std::filesystem::path& path) {
  const std::string bytes = bytes_of(path);
  REQUIRE(bytes.size() > 45);
  REQUIRE(bytes.substr(0, 8) == "\x89PNG\r\n\x1a\n");
  REQUIRE(bytes.substr(bytes.size() - 8, 4) == "IEND");
  const auto number = [&](std::size_t at) {
    std::int64_t value = 0;
    for (std::size_t byte = at; byte < at + 4; ++byte) value = value * 256 + static_cast<unsigned char>(bytes[byte]);
    return value;
  };
  return {number(20), number(16)};
}
