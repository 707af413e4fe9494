// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <patchdiff/data/dataset.hpp>

#include "read_images.hpp"

/// How far one half of an image tells of the other: the correlation, over images, between the left half's mean in each
/// row and the right half's, and between the upper half's in each column and the lower half's, averaged over rows and
/// columns that vary. Images that are pieced together from patches have less of it than real ones.
///
/// Shapes: images [N, C, H, W] in host memory, H and W even.
inline double halves_correlation(const at::Tensor& images) {
  const at::Tensor mean = images.mean(1).to(at::kDouble);  // [N, H, W]
  double sum = 0;
  std::int64_t count = 0;
  const auto add = [&](const at::Tensor& one, const at::Tensor& other) {  // [N, lines]
    const at::Tensor a = one - one.mean(0), b = other - other.mean(0);
    const at::Tensor spread = (a.square().mean(0) * b.square().mean(0)).sqrt();
    const at::Tensor varies = spread.gt(1e-4);
    sum += ((a * b).mean(0) / spread).masked_select(varies).sum().item<double>();
    count += varies.sum().item<std::int64_t>();
  };
  const std::int64_t height = mean.size(1) / 2, width = mean.size(2) / 2;
  add(mean.narrow(2, 0, width).mean(2), mean.narrow(2, width, width).mean(2));
  add(mean.narrow(1, 0, height).mean(1), mean.narrow(1, height, height).mean(1));
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

/// The same of a data set's first images.
template <patchdiff::Dataset Source>
double halves_correlation(const Source& data, std::int64_t count) {
  std::vector<std::int64_t> indices;
  for (std::int64_t index = 0; index < std::min(count, data.size()); ++index) indices.push_back(index);
  return halves_correlation(read_images(data, indices));
}
