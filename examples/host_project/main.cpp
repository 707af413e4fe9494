// SPDX-License-Identifier: Apache-2.0
// Trains, says the loss at first and at last, and writes what was painted to the file that is named.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include <patchdiff/core/error.hpp>

#include "shape_painter.hpp"

namespace {

bool write_ppm(const Painting& painting, const char* path) {
  std::FILE* file = std::fopen(path, "wb");
  if (file == nullptr) return false;
  std::fprintf(file, "P6 %d %d 255\n", painting.width, painting.height);
  const bool written = std::fwrite(painting.rgb.data(), 1, painting.rgb.size(), file) == painting.rgb.size();
  return std::fclose(file) == 0 && written;
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t side = argc > 1 ? std::atoll(argv[1]) : 32;
  const char* path = argc > 2 ? argv[2] : "shapes.ppm";
  try {
    const Painting painting = paint_shapes(side, 2000);
    if (!write_ppm(painting, path)) {
      std::fprintf(stderr, "cannot write %s\n", path);
      return 1;
    }
    std::printf("loss %.3f to %.3f, %d x %d pixels in %s\n", painting.first_loss, painting.last_loss, painting.width,
                painting.height, path);
  } catch (const patchdiff::ConfigError& error) {
    std::fprintf(stderr, "settings: %s\n", error.what());
    return 2;
  } catch (const patchdiff::Error& error) {
    std::fprintf(stderr, "patchdiff: %s\n", error.what());
    return 1;
  } catch (const std::exception& error) {  // LibTorch's own pass through
    std::fprintf(stderr, "paint_shapes: %s\n", error.what());
    return 1;
  }
}
