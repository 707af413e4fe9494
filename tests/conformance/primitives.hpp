// SPDX-License-Identifier: Apache-2.0
// The primitives of a backend against plain loops; part of conformance/suite.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>

#include "support/tensors.hpp"

namespace patchdiff::conformance {

using Values = std::vector<double>;

/// Checks equality to a few roundings of the scalar type, relative to the largest expected value.
inline void check_close(const Values& got, const Values& expected, double tolerance) {
  REQUIRE(got.size() == expected.size());
  double scale = 1, largest = 0;
  for (const double value : expected) scale = std::max(scale, std::abs(value));
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - expected[i]);
    largest = std::max(largest, std::isnan(error) ? std::numeric_limits<double>::infinity() : error);
  }
  CHECK(largest <= tolerance * scale);
}

/// The primitives against plain loops. A fixture has a `Backend`, `device()` and the `rounding` of its scalar type.
template <class Fixture>
struct Primitives {
  using B = typename Fixture::Backend;
  using Tensor = typename B::Tensor;

  static Tensor made(const Shape& shape, const Values& values) { return tensor<B>(shape, values, Fixture::device()); }
  static Tensor random(const Shape& shape, std::uint64_t seed) {
    return random_tensor<B>(shape, seed, Fixture::device());
  }

  static void check(const Tensor& got, const Shape& shape, const Values& expected) {
    CHECK(B::shape(got) == shape);
    CHECK(B::device(got) == Fixture::device());
    check_close(B::to_host(got), expected, Fixture::rounding);
  }

  static void transfers() {
    const std::vector<float> floats{1.5F, -2.25F, 3};
    check(B::from_host(std::span<const float>(floats), {3, 1}, Fixture::device()), {3, 1}, {1.5, -2.25, 3});
    check(made({1, 3}, {1.5, -2.25, 3}), {1, 3}, {1.5, -2.25, 3});
    check(made({}, {7}), {}, {7});
    check(B::zeros({2, 2}, Fixture::device()), {2, 2}, {0, 0, 0, 0});
    check(B::zeros({}, Fixture::device()), {}, {0});
    check(B::zeros({0, 3}, Fixture::device()), {0, 3}, {});
    CHECK_FALSE(B::device_name(Fixture::device()).empty());
  }

  static void precision() {
    const Tensor x = random({2, 3}, 1);
    const auto wide = B::widen(x);
    CHECK(B::Wide::to_host(wide) == B::to_host(x));
    CHECK(B::Wide::device(wide) == B::wide_device(Fixture::device()));
    CHECK(B::to_host(B::narrow(wide, Fixture::device())) == B::to_host(x));
    const auto third = tensor<typename B::Wide>({1}, {1.0 / 3}, B::wide_device(Fixture::device()));
    CHECK(B::Wide::to_host(third)[0] == 1.0 / 3);
    check(B::narrow(third, Fixture::device()), {1}, {1.0 / 3});
  }

  /// Of images of 5x7: inside, over each border alone, over all of them, and outside.
  static std::vector<Places> cut_places() {
    return {
        Places{{2, 3}, {Place::at(3, 0), Place::at(1, 4)}},   Places{{2, 3}, {Place::at(-1, 2), Place::at(4, 2)}},
        Places{{2, 3}, {Place::at(1, -1), Place::at(2, 5)}},  Places{{9, 13}, {Place::at(-1, -4), Place::at(-2, -3)}},
        Places{{2, 3}, {Place::at(-2, 9), Place::at(5, -3)}}, Places::whole({5, 7}, 2)};
  }

  static void crop() {
    for (const std::int64_t channels : {1, 3}) {
      const Tensor images = random({2, channels, 5, 7}, 2);
      const Values pixels = B::to_host(images);
      for (const Places& places : cut_places()) {
        const auto [height, width] = places.patch;
        Values expected;
        for (std::int64_t plane = 0; plane < 2 * channels; ++plane) {
          const Place& place = places.at[static_cast<std::size_t>(plane / channels)];
          for (std::int64_t row = place.top; row < place.top + height; ++row) {
            for (std::int64_t column = place.left; column < place.left + width; ++column) {
              const bool inside = row >= 0 && row < 5 && column >= 0 && column < 7;
              expected.push_back(inside ? pixels[static_cast<std::size_t>((plane * 5 + row) * 7 + column)] : 0);
            }
          }
        }
        check(B::crop(images, places), {2, channels, height, width}, expected);
      }
    }
  }

  static void accumulate_patches() {
    for (const std::int64_t channels : {1, 3}) {
      for (const Places& places : cut_places()) {
        const auto [height, width] = places.patch;
        Tensor images = random({2, channels, 5, 7}, 2);
        const Tensor patches = random({2, channels, height, width}, 3);
        const Values added = B::to_host(patches);
        Values expected = B::to_host(images);
        for (std::int64_t plane = 0; plane < 2 * channels; ++plane) {
          const Place& place = places.at[static_cast<std::size_t>(plane / channels)];
          for (std::int64_t row = 0; row < 5; ++row) {
            for (std::int64_t column = 0; column < 7; ++column) {
              const std::int64_t in_row = row - place.top, in_column = column - place.left;
              if (in_row < 0 || in_row >= height || in_column < 0 || in_column >= width) continue;
              expected[static_cast<std::size_t>((plane * 5 + row) * 7 + column)] +=
                  added[static_cast<std::size_t>((plane * height + in_row) * width + in_column)];
            }
          }
        }
        B::accumulate_patches(images, patches, places);
        check(images, {2, channels, 5, 7}, expected);
        CHECK(B::to_host(patches) == added);
      }
    }
  }

  static void coordinate_grid() {
    const PixelMap mirrored{.row_offset = 2, .column_from_column = -1, .column_offset = 5};
    const PixelMap turned{.row_from_row = 0, .row_from_column = 0.5, .column_from_row = 2, .column_from_column = 0};
    const Places places{{3, 4}, {Place::at(1, 2), {.to_image = mirrored}, {.to_image = turned}}};
    for (const ImageSize image : {ImageSize{6, 9}, ImageSize{1, 9}, ImageSize{6, 1}}) {
      Values expected;
      for (const Place& place : places.at) {
        for (const bool is_x : {true, false}) {
          for (int row = 0; row < 3; ++row) {
            for (int column = 0; column < 4; ++column) {
              const double position = is_x ? place.to_image.column(row, column) : place.to_image.row(row, column);
              const auto last = static_cast<double>((is_x ? image.width : image.height) - 1);
              expected.push_back(last > 0 ? 2 * position / last - 1 : 0);
            }
          }
        }
      }
      check(B::coordinate_grid(places, image, Fixture::device()), {3, 2, 3, 4}, expected);
    }
    for (std::int64_t side = 2; side < 600; side += 13) {
      const Places corners{{1, 1}, {Place::at(0, 0), Place::at(side - 1, side - 1)}};
      CHECK(B::to_host(B::coordinate_grid(corners, {side, side}, Fixture::device())) == Values{-1, -1, 1, 1});
    }
  }

  static void fourier_features() {
    const Tensor x = random({2, 2, 1, 3}, 8);
    const std::vector<double> frequencies{1, 2.5};
    const Values values = B::to_host(x);
    Values expected;
    for (std::size_t n = 0; n < 2; ++n) {
      for (const double f : frequencies) {
        for (std::size_t i = 0; i < 6; ++i) expected.push_back(std::sin(f * values[n * 6 + i]));
        for (std::size_t i = 0; i < 6; ++i) expected.push_back(std::cos(f * values[n * 6 + i]));
      }
    }
    check(B::fourier_features(x, frequencies), {2, 8, 1, 3}, expected);
  }

  static void concat_and_slice() {
    const Tensor x = random({2, 3, 4, 5}, 3);
    const Values values = B::to_host(x);
    for (std::int64_t dimension = 0; dimension < 4; ++dimension) {
      const std::int64_t length = B::shape(x)[static_cast<std::size_t>(dimension)];
      const Tensor head = B::slice(x, dimension, 0, 1), tail = B::slice(x, dimension, 1, length - 1);
      Shape shape = B::shape(x);
      shape[static_cast<std::size_t>(dimension)] = length - 1;
      CHECK(B::shape(tail) == shape);
      check(B::concat(std::array{head, tail}, dimension), B::shape(x), values);
    }
    check(B::slice(made({2, 3}, {1, 2, 3, 4, 5, 6}), 1, 1, 2), {2, 2}, {2, 3, 5, 6});
    check(B::concat(std::array{made({2, 1}, {1, 2}), made({2, 2}, {3, 4, 5, 6})}, 1), {2, 3}, {1, 3, 4, 2, 5, 6});
  }

  static void arithmetic() {
    const Values a{2, -0.5, 0}, b{1, 3, -1};
    for (const Shape& shape : {Shape{3}, Shape{3, 4}, Shape{3, 2, 2, 5}}) {
      const Tensor x = random(shape, 4), y = random(shape, 5);
      const Values of_x = B::to_host(x), of_y = B::to_host(y);
      const std::size_t row = of_x.size() / 3;
      Values scaled, combined, product, sums(3);
      for (std::size_t i = 0; i < of_x.size(); ++i) {
        scaled.push_back(a[i / row] * of_x[i]);
        combined.push_back(a[i / row] * of_x[i] + b[i / row] * of_y[i]);
        product.push_back(of_x[i] * of_y[i]);
        sums[i / row] += of_x[i];
      }
      check(B::scale(a, x), shape, scaled);
      check(B::combine(a, x, b, y), shape, combined);
      check(B::multiply(x, y), shape, product);
      if (shape.size() > 1) check(B::sum_per_sample(x), {3}, sums);
      check(linear<B>(2, x, -1, y), shape, B::to_host(B::combine(Values(3, 2), x, Values(3, -1), y)));
      check(linear<B>(-3, x), shape, B::to_host(B::scale(Values(3, -3), x)));
      CHECK(B::to_host(x) == of_x);
      CHECK(B::to_host(y) == of_y);
    }
    const Tensor image = made({1, 2, 1, 2}, {1, 2, 3, 4});
    check(B::multiply(image, made({1, 1, 1, 2}, {10, 100})), {1, 2, 1, 2}, {10, 200, 30, 400});
  }

  static void writing() {
    const Tensor x = made({2, 2}, {1, 2, 3, 4}), y = made({2, 2}, {5, 7, 9, 11});
    Tensor target = B::clone(x);
    B::accumulate(target, y);
    check(target, {2, 2}, {6, 9, 12, 15});
    B::assign(target, y);
    check(target, {2, 2}, {5, 7, 9, 11});
    B::blend(target, x, 0.25);
    check(target, {2, 2}, {4, 5.75, 7.5, 9.25});
    B::set_zero(target);
    check(target, {2, 2}, {0, 0, 0, 0});
    check(x, {2, 2}, {1, 2, 3, 4});
    check(y, {2, 2}, {5, 7, 9, 11});
    Tensor broken = made({1}, {std::numeric_limits<double>::quiet_NaN()});
    B::set_zero(broken);
    check(broken, {1}, {0});
    Tensor scalar = B::zeros({}, Fixture::device());
    B::accumulate(scalar, made({}, {1}));
    check(scalar, {}, {1});
  }

  static void finite_flag() {
    const auto flag = [](const Values& values) {
      const Tensor judged = B::finite_flag(std::array{random({3}, 6), made({2, 2}, values), random({1}, 7)});
      CHECK(B::shape(judged).empty());
      CHECK(B::to_host(judged)[0] == (B::read_flag(judged) ? 1 : 0));
      return B::read_flag(judged);
    };
    constexpr double infinity = std::numeric_limits<double>::infinity();
    constexpr double most = std::numeric_limits<float>::max();
    CHECK(flag({1, -most, 0, most}));
    CHECK_FALSE(flag({1, 2, 3, infinity}));
    CHECK_FALSE(flag({-infinity, 2, 3, 4}));
    CHECK_FALSE(flag({1, std::numeric_limits<double>::quiet_NaN(), 3, 4}));
  }

  static void norm() {
    Values many(100'001);  // more than a block; their sums are exact
    double squares = 9;
    for (std::size_t i = 0; i < many.size(); ++i) {
      many[i] = static_cast<double>(i % 7) - 2;
      squares += many[i] * many[i];
    }
    const Tensor x = made({100'001}, many);
    check(B::norm(std::array{x, made({2}, {0, -3})}), {}, {std::sqrt(squares)});
    check(B::norm(std::array{made({2, 2}, {1, -1, 3, 5}), made({}, {8})}), {}, {10});
    check(B::norm(std::array{B::zeros({0, 3}, Fixture::device()), made({1}, {-3})}), {}, {3});
    constexpr double most = std::numeric_limits<float>::max();  // whose square is infinite in float32
    check(B::norm(std::array{made({2}, {most / 2, 0})}), {}, {most / 2});
    for (const double broken : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
      CHECK_FALSE(B::read_flag(B::finite_flag(std::array{B::norm(std::array{x, made({2}, {1, broken})})})));
    }
  }

  static void clip_norm() {
    Tensor x = made({2, 2}, {1, -1, 3, 5}), scalar = made({}, {8});
    const Tensor norm = B::norm(std::array{x, scalar});
    for (const double enough : {10.0, 11.0, 1e30, 1e300}) B::clip_norm(x, norm, enough);
    CHECK(B::to_host(x) == Values{1, -1, 3, 5});
    B::clip_norm(x, norm, 2.5);
    B::clip_norm(scalar, norm, 2.5);
    check(x, {2, 2}, {0.25, -0.25, 0.75, 1.25});
    check(scalar, {}, {2});
    check(norm, {}, {10});
    Tensor zero = B::zeros({3}, Fixture::device());
    B::clip_norm(zero, B::norm(std::array{zero}), 1e-3);
    check(zero, {3}, {0, 0, 0});
  }

  static void adam_update() {
    const AdamSettings settings{.learning_rate = 0.1, .beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-3};
    const Tensor finite = B::finite_flag(std::array{B::zeros({1}, Fixture::device())});
    const Tensor broken = B::finite_flag(std::array{made({1}, {std::numeric_limits<double>::infinity()})});
    Tensor value = random({2, 3}, 8), mean = B::zeros({2, 3}, Fixture::device()), square = B::clone(mean);
    Tensor count = B::zeros({}, B::device(finite));
    Values expected = B::to_host(value), m(6), v(6);
    for (int step = 1; step <= 3; ++step) {
      const Tensor gradient = random({2, 3}, 8 + static_cast<std::uint64_t>(step));
      const Values g = B::to_host(gradient);
      B::accumulate(count, finite);
      B::adam_update(value, mean, square, gradient, count, finite, settings);
      for (std::size_t i = 0; i < 6; ++i) {
        m[i] = 0.8 * m[i] + 0.2 * g[i];
        v[i] = 0.9 * v[i] + 0.1 * g[i] * g[i];
        const double root = std::sqrt(v[i] / (1 - std::pow(0.9, step)));
        expected[i] -= 0.1 * m[i] / (1 - std::pow(0.8, step)) / (root + 1e-3);
      }
      check(value, {2, 3}, expected);
      check(mean, {2, 3}, m);
      check(square, {2, 3}, v);
    }
    const Values kept = B::to_host(value);
    const Tensor gradient = made({2, 3}, {1, std::numeric_limits<double>::quiet_NaN(), 3, 4, 5, 6});
    B::adam_update(value, mean, square, gradient, count, broken, settings);
    CHECK(B::to_host(value) == kept);
    check(mean, {2, 3}, m);
    check(square, {2, 3}, v);
  }
};

}  // namespace patchdiff::conformance
