// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// Images in memory, and their labels if they have some.
struct LabelledImages {
  ImageShape shape{};
  /// [N, C, H, W], one byte per value: 0 is black, 255 is white.
  std::vector<std::uint8_t> pixels{};
  /// One per image, or empty.
  std::vector<std::int64_t> labels{};
  /// 0: one more than the largest label.
  std::int64_t class_count = 0;
};

/// A dataset that holds its images in memory, one byte per value.
class ArrayDataset {
 public:
  /// Errors: ShapeError for an image or a number of pixels or labels that does not fit; DataError for a bad label.
  explicit ArrayDataset(LabelledImages images) : images_(std::move(images)) {
    const auto& [channels, height, width] = images_.shape;
    if (channels < 1 || height < 1 || width < 1) {
      refuse<ShapeError>("ArrayDataset", "shape", "sizes of at least 1", to_string(images_.shape));
    }
    stride_ = static_cast<std::size_t>(value_count(images_.shape));
    if (images_.pixels.empty() || images_.pixels.size() % stride_ != 0) {
      refuse<ShapeError>("ArrayDataset", "pixels", str("a multiple of ", stride_, " bytes"),
                         str(images_.pixels.size()));
    }
    require_labels();
  }

  std::int64_t size() const noexcept { return static_cast<std::int64_t>(images_.pixels.size() / stride_); }
  ImageShape shape() const noexcept { return images_.shape; }

  /// The number of classes; 0 without labels.
  std::int64_t class_count() const noexcept { return images_.class_count; }

  /// The class of an image. Errors: DataError for an index out of range, and without labels.
  std::int64_t label(std::int64_t index) const {
    require_index(index);
    require<DataError>(!images_.labels.empty(), "ArrayDataset", "labels", "labels", "none");
    return images_.labels[static_cast<std::size_t>(index)];
  }

  /// A view of the stored bytes of an image, [C, H, W]. Errors: DataError for an index out of range.
  std::span<const std::uint8_t> pixels(std::int64_t index) const {
    require_index(index);
    return std::span(images_.pixels).subspan(static_cast<std::size_t>(index) * stride_, stride_);
  }

  /// Writes an image as [C, H, W] floats, `byte / 127.5 - 1`.
  ///
  /// Errors: DataError for an index out of range; ShapeError for an `out` of another size.
  void read(std::int64_t index, std::span<float> out) const {
    const std::span<const std::uint8_t> stored = pixels(index);
    if (out.size() != stride_) {
      refuse<ShapeError>("ArrayDataset", "out", str(stride_, " values"), str(out.size()));
    }
    std::transform(stored.begin(), stored.end(), out.begin(),
                   [](std::uint8_t value) { return static_cast<float>(value) / 127.5F - 1.0F; });
  }

 private:
  static constexpr std::int64_t maximum_classes = std::int64_t{1} << 31;

  void require_index(std::int64_t index) const {
    if (index >= 0 && index < size()) return;
    refuse<DataError>("ArrayDataset", "index", str("0 to ", size() - 1), str(index));
  }

  void require_labels() {
    auto& [shape, pixels, labels, class_count] = images_;
    if (labels.empty()) {
      if (class_count != 0) refuse<ShapeError>("ArrayDataset", "labels", str(size(), " labels"), "0");
      return;
    }
    if (labels.size() != static_cast<std::size_t>(size())) {
      refuse<ShapeError>("ArrayDataset", "labels", str(size(), " labels"), str(labels.size()));
    }
    const auto [smallest, largest] = std::minmax_element(labels.begin(), labels.end());
    if (*smallest < 0) refuse<DataError>("ArrayDataset", "labels", "0 or more", str(*smallest));
    const std::int64_t limit = class_count == 0 ? maximum_classes : class_count;
    if (*largest >= limit) {
      refuse<DataError>("ArrayDataset", "labels", str("less than ", limit), str(*largest));
    }
    if (class_count == 0) class_count = *largest + 1;
  }

  LabelledImages images_;
  std::size_t stride_ = 0;
};

}  // namespace patchdiff
