// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/data/dataset.hpp>

/// The indices of the images at positions first, first + 1, ... of an order, which maps a position to an index.
template <class Order>
std::vector<std::int64_t> indices_of(const Order& order, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> indices;
  for (std::int64_t position = first; position < first + count; ++position) {
    indices.push_back(static_cast<std::int64_t>(order(static_cast<std::uint64_t>(position))));
  }
  return indices;
}

/// Images of a data set as one tensor of floats in host memory, [N, C, H, W].
template <patchdiff::Dataset Source>
at::Tensor read_images(const Source& data, const std::vector<std::int64_t>& indices) {
  const auto [channels, height, width] = data.shape();
  at::Tensor images = at::empty({static_cast<std::int64_t>(indices.size()), channels, height, width});
  const auto values = static_cast<std::size_t>(value_count(data.shape()));
  float* out = images.data_ptr<float>();
  for (const std::int64_t index : indices) {
    data.read(index, {out, values});
    out += values;
  }
  return images;
}
