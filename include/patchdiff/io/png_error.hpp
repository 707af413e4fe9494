// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

#include <png.h>

namespace patchdiff {

/// What libpng said of its last error. It reports one by longjmp, to where `png_jmpbuf` was set; warnings are ignored.
class PngError {
 public:
  const char* message() const noexcept { return message_.data(); }

  /// libpng's callbacks, whose error pointer is a PngError.
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto& self = *static_cast<PngError*>(png_get_error_ptr(png));
    std::string_view(message).copy(self.message_.data(), self.message_.size() - 1);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}

 private:
  std::array<char, 128> message_{};
};

}  // namespace patchdiff
