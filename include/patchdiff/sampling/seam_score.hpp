// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/sampling/window_grid.hpp>

namespace patchdiff {

/// How much neighbouring pixels differ across window borders, in units of how much they differ elsewhere.
///
/// The ratio of mean absolute differences: 1 where nothing shows or nothing differs, and along an axis without borders.
struct SeamScore {
  double rows = 1;     ///< between a row and the one above
  double columns = 1;  ///< between a column and the one to its left
};

/// For people, in a line.
inline std::string to_string(const SeamScore& score) {
  return str("seams ", fixed(score.rows, 4), " between rows, ", fixed(score.columns, 4), " between columns");
}

/// The score of images [N, C, H, W] on the grid of their last step; reads them from the device a band at a time.
///
/// Errors: ShapeError for images of another size than the grid's.
template <Backend B>
SeamScore seam_score(const typename B::Tensor& images, const WindowGrid& grid) {
  const Shape shape = B::shape(images);
  if (shape.size() != 4 || ImageSize{shape[2], shape[3]} != grid.image()) {
    refuse<ShapeError>("seam_score", "images", str("images of ", to_string(grid.image()), ", as the grid's"),
                       to_string(shape));
  }
  struct Mean {
    double sum = 0, count = 0;
    void add(double value) { sum += std::abs(value), ++count; }
  };
  struct Axis {
    Mean across, elsewhere;
    double score() const {
      if (across.count == 0 || elsewhere.count == 0 || (across.sum == 0 && elsewhere.sum == 0)) return 1;
      return (across.sum / across.count) / (elsewhere.sum / elsewhere.count);
    }
  };
  Axis rows, columns;
  constexpr std::int64_t band = 64;
  const auto width = static_cast<std::size_t>(shape[3]);
  for (std::int64_t first = 0; first < shape[2]; first += band) {
    const std::int64_t above = first > 0 ? 1 : 0;
    const std::int64_t height = std::min(band, shape[2] - first) + above;
    const std::vector<double> values = B::to_host(B::slice(images, 2, first - above, height));
    for (std::int64_t plane = 0; plane < shape[0] * shape[1]; ++plane) {
      for (std::int64_t row = above; row < height; ++row) {
        const double* pixels = values.data() + static_cast<std::size_t>(plane * height + row) * width;
        const bool border = grid.rows.borders()[static_cast<std::size_t>(first - above + row)];
        for (std::size_t column = 0; column < width; ++column) {
          if (row > 0) (border ? rows.across : rows.elsewhere).add(pixels[column] - *(pixels + column - width));
          if (column == 0) continue;
          (grid.columns.borders()[column] ? columns.across : columns.elsewhere)
              .add(pixels[column] - pixels[column - 1]);
        }
      }
    }
  }
  return {rows.score(), columns.score()};
}

}  // namespace patchdiff
