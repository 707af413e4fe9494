// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// What a backend's primitives refuse, in the same words on every backend: each throws ShapeError.
///
/// Sizes are anything that gives a span, so that no shape is copied. Cost: a comparison of a few integers.
class PrimitiveChecks {
 public:
  using Sizes = std::span<const std::int64_t>;

  explicit constexpr PrimitiveChecks(std::string_view backend) : backend_(backend) {}

  [[noreturn]] void refuse(std::string_view primitive, std::string_view expected, Sizes got) const {
    patchdiff::refuse<ShapeError>(backend_, primitive, expected, to_string(got));
  }

  void same(std::string_view primitive, Sizes expected, Sizes got) const {
    if (!equal(expected, got)) refuse(primitive, to_string(expected), got);
  }

  void rank(std::string_view primitive, std::size_t rank, Sizes x) const {
    if (x.size() != rank) refuse(primitive, str("rank ", rank), x);
  }

  void coefficients(std::string_view primitive, std::span<const double> a, Sizes x) const {
    if (x.empty() || x[0] != static_cast<std::int64_t>(a.size())) {
      refuse(primitive, str(a.size(), " samples, one per coefficient"), x);
    }
  }

  void from_host(std::size_t values, const Shape& shape) const {
    if (static_cast<std::int64_t>(values) != element_count(shape)) {
      refuse("from_host", str("a shape of ", values, " values"), shape);
    }
  }

  void crop(Sizes x, const Places& places) const {
    if (x.size() != 4 || x[0] != places.count()) {
      refuse("crop", str('[', places.count(), ", C, H, W], one image per place"), x);
    }
  }

  void accumulate_patches(Sizes images, Sizes patches, const Places& places) const {
    if (images.size() != 4 || images[0] != places.count()) {
      refuse("accumulate_patches", str('[', places.count(), ", C, H, W], one image per place"), images);
    }
    const std::array expected{images[0], images[1], places.patch.height, places.patch.width};
    same("accumulate_patches", expected, patches);
  }

  /// For each part, where `head` is the first.
  void concat(Sizes head, Sizes part, std::int64_t dimension) const {
    if (dimension < 0 || dimension >= static_cast<std::int64_t>(head.size())) {
      refuse("concat", str("tensors with dimension ", dimension), head);
    }
    const auto joined = static_cast<std::size_t>(dimension);
    if (part.size() != head.size() || !equal(head.first(joined), part.first(joined)) ||
        !equal(head.subspan(joined + 1), part.subspan(joined + 1))) {
      refuse("concat", str(to_string(head), " outside of dimension ", dimension), part);
    }
  }

  void slice(Sizes x, std::int64_t dimension, std::int64_t first, std::int64_t count) const {
    if (dimension < 0 || dimension >= static_cast<std::int64_t>(x.size()) || first < 0 || count < 0 ||
        count > x[static_cast<std::size_t>(dimension)] - first) {
      refuse("slice", str("a tensor that holds ", count, " from ", first, " on in dimension ", dimension), x);
    }
  }

  void multiply(Sizes x, Sizes y) const {
    const bool one_channel =
        x.size() == 4 && y.size() == 4 && y[0] == x[0] && y[1] == 1 && y[2] == x[2] && y[3] == x[3];
    if (!one_channel) same("multiply", x, y);
  }

  void sum_per_sample(Sizes x) const {
    if (x.size() < 2) refuse("sum_per_sample", "samples of at least one dimension", x);
  }

 private:
  static bool equal(Sizes a, Sizes b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

  std::string_view backend_;
};

}  // namespace patchdiff
