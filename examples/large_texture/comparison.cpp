// SPDX-License-Identifier: Apache-2.0
#include "comparison.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/png.hpp>

namespace {

namespace pd = patchdiff;
using B = pd::TorchBackend;

/// The whole image as a picture of 512 pixels, and 400 pixels as they are.
class Views {
 public:
  /// Takes bands of rows [1, 1, h, side] from the top down.
  explicit Views(std::int64_t side) : factor_(side / 512), crop_(side / 2 - 200) {}

  void add(const at::Tensor& band) {
    const at::Tensor rows = band.to(at::kFloat);
    whole_.push_back(at::avg_pool2d(rows, {factor_, factor_}));
    const std::int64_t first = std::clamp<std::int64_t>(crop_ - seen_, 0, band.size(2));
    const std::int64_t end = std::clamp<std::int64_t>(crop_ + 400 - seen_, first, band.size(2));
    part_.push_back(rows.narrow(2, first, end - first).narrow(3, crop_, 400));
    seen_ += band.size(2);
    const at::Tensor exact = band.to(at::kDouble);
    sum_ += exact.sum().item<double>();
    squares_ += exact.square().sum().item<double>();
    count_ += static_cast<double>(exact.numel());
  }

  at::Tensor whole() const { return at::cat(whole_, 2); }
  at::Tensor part() const { return at::cat(part_, 2); }
  double mean() const { return sum_ / count_; }
  double deviation() const { return std::sqrt(squares_ / count_ - mean() * mean()); }

 private:
  std::int64_t factor_, crop_, seen_ = 0;
  std::vector<at::Tensor> whole_, part_;
  double sum_ = 0, squares_ = 0, count_ = 0;
};

void write_pair(const std::filesystem::path& path, const at::Tensor& texture, const at::Tensor& drawn) {
  const at::Tensor pair = at::cat({texture, drawn}, 0);
  pd::write_png(path, pd::ImageGrid({.columns = 2, .margin = 4})(B::to_host(pair), B::shape(pair)));
}

}  // namespace

void write_comparison(const std::filesystem::path& folder, const pd::MappedArray& texture, const at::Tensor& drawn) {
  const std::int64_t side = texture.shape().width, band = side / 512;
  Views of_texture(side), of_drawn(side);
  std::vector<float> values(static_cast<std::size_t>(band * side));
  for (std::int64_t row = 0; row < side; row += band) {
    texture.read_patch(0, pd::Place::at(row, 0), {band, side}, values);
    of_texture.add(B::from_host(std::span<const float>(values), {1, 1, band, side}, {}));
    of_drawn.add(drawn.narrow(2, row, band));
  }
  write_pair(folder / "whole.png", of_texture.whole(), of_drawn.whole());
  write_pair(folder / "part.png", of_texture.part(), of_drawn.part());
  fmt::print("standard deviation {:.4f} (the texture's own: {:.4f}), mean {:.4f} ({:.4f})\n", of_drawn.deviation(),
             of_texture.deviation(), of_drawn.mean(), of_texture.mean());
}
