// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/data/augmentation.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/statistics.hpp"

namespace patchdiff {
namespace {

constexpr RandomKey key{3};

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

double angle_cdf(double angle) { return 0.5 + angle / (2 * std::numbers::pi); }

// False-alarm rate: about 1e-6 for each of the checks.
TEST_CASE("labels have the published distribution") {
  constexpr std::size_t count = 40'000;
  constexpr double p = 0.3;
  const Augmentation augmentation({.x_flip = true, .probability = p});
  CHECK(augmentation.label_dim() == 9);
  std::vector<double> groups(64), scales, rotations, stretches, axes, right, down;
  std::size_t straight = 0;
  for (std::uint64_t position = 0; position < count; ++position) {
    const auto labels = augmentation.draw(key, position, {8, 8}).labels;
    const double stretch = std::hypot(labels[5], labels[6]);
    const std::array<bool, 6> drawn{labels[0] != 0, labels[1] != 0, labels[2] != 0,
                                    labels[4] != 0, stretch != 0,   labels[7] != 0};
    CHECK((labels[0] == 0 || labels[0] == 1));
    CHECK((labels[1] == 0 || labels[1] == 1));
    std::size_t group = 0;
    for (std::size_t bit = 0; bit < drawn.size(); ++bit) group |= std::size_t{drawn[bit]} << bit;
    ++groups[group];
    if (drawn[2]) scales.push_back(labels[2]);
    if (drawn[3]) rotations.push_back(std::atan2(labels[4], labels[3] + 1));
    if (drawn[4] && labels[6] == 0) ++straight;
    // (w, phi) and (-w, phi + pi) have the same two parts, and are as likely: the sign of w is not seen.
    if (drawn[4] && labels[6] != 0) {
      stretches.push_back(stretch);
      axes.push_back(std::atan2(labels[6], labels[5]));
    } else if (drawn[4]) {
      stretches.push_back(labels[5]);
    }
    if (drawn[5]) right.push_back(labels[7]);
    if (drawn[5]) down.push_back(labels[8]);
  }
  // Each group on its own: x-flip 1/2, y-flip p / 2, the others p.
  std::vector<double> expected(64);
  for (std::size_t group = 0; group < 64; ++group) {
    expected[group] = count;
    for (std::size_t bit = 0; bit < 6; ++bit) {
      const double chance = bit == 0 ? 0.5 : bit == 1 ? p / 2 : p;
      expected[group] *= (group >> bit & 1) != 0 ? chance : 1 - chance;
    }
  }
  CHECK(chi_square(groups, expected) < largest_chi_square(64));
  CHECK(kolmogorov(scales, normal_cdf) < largest_kolmogorov);
  CHECK(kolmogorov(rotations, angle_cdf) < largest_kolmogorov);
  CHECK(kolmogorov(right, normal_cdf) < largest_kolmogorov);
  CHECK(kolmogorov(down, normal_cdf) < largest_kolmogorov);
  CHECK(kolmogorov(axes, angle_cdf) < largest_kolmogorov);
  for (double& stretch : stretches) stretch = std::abs(stretch);
  CHECK(kolmogorov(stretches, [](double w) { return 2 * normal_cdf(w) - 1; }) < largest_kolmogorov);
  const auto turned = static_cast<double>(axes.size()), all = turned + static_cast<double>(straight);
  CHECK(std::abs(turned - all / 2) < largest_z * std::sqrt(all) / 2);
}

/// Where the labels' changes take a place of the image: the way there, where the map is the way back.
///
/// The labels do not tell the sign of the stretch (see above).
std::array<double, 2> changed(const std::array<float, 9>& labels, double sign, ImageSize image, double row,
                              double column) {
  const double middle_x = static_cast<double>(image.width - 1) / 2,
               middle_y = static_cast<double>(image.height - 1) / 2;
  double x = column - middle_x, y = middle_y - row;  // y upwards
  if (labels[0] == 1) x = -x;
  if (labels[1] == 1) y = -y;
  const double scale = std::pow(2, 0.2 * labels[2]);
  x *= scale;
  y *= scale;
  const double c = labels[3] + 1.0, s = labels[4];
  const std::array turned{c * x - s * y, s * x + c * y};
  const double stretch = std::hypot(labels[5], labels[6]), longer = std::pow(2, 0.2 * sign * stretch);
  const std::array axis{stretch > 0 ? labels[5] / stretch : 1, stretch > 0 ? labels[6] / stretch : 0};
  const double along = (turned[0] * axis[0] + turned[1] * axis[1]) * longer;
  const double across = (turned[1] * axis[0] - turned[0] * axis[1]) / longer;
  x = along * axis[0] - across * axis[1] + 0.125 * labels[7] * static_cast<double>(image.width);
  y = along * axis[1] + across * axis[0] - 0.125 * labels[8] * static_cast<double>(image.height);
  return {middle_y - y, x + middle_x};
}

TEST_CASE("the map undoes what the labels say") {
  const Augmentation augmentation({.x_flip = true, .probability = 0.6});
  const ImageSize image{20, 33};
  double worst = 0;
  for (std::uint64_t position = 0; position < 500; ++position) {
    const auto [map, labels] = augmentation.draw(key, position, image);
    std::array<double, 2> errors{};
    for (std::size_t sign = 0; sign < 2; ++sign) {
      for (const auto& [row, column] : {std::array{0.0, 0.0}, {0.0, 32.0}, {19.0, 0.0}, {7.3, 11.9}}) {
        const auto [there_row, there_column] = changed(labels, sign == 0 ? 1 : -1, image, row, column);
        errors[sign] = std::max({errors[sign], std::abs(map.row(there_row, there_column) - row),
                                 std::abs(map.column(there_row, there_column) - column)});
      }
    }
    worst = std::max(worst, std::min(errors[0], errors[1]));
  }
  CHECK(worst < 1e-4);
}

// False-alarm rate: 5.7e-7.
TEST_CASE("flips alone mirror half of the images exactly and need no labels") {
  const Augmentation augmentation({.x_flip = true});
  CHECK(augmentation.active());
  CHECK(augmentation.label_dim() == 0);
  constexpr std::uint64_t count = 10'000;
  double mirrored = 0;
  for (std::uint64_t position = 0; position < count; ++position) {
    const PixelMap map = augmentation.draw(key, position, {6, 7}).to_image;
    if (map == PixelMap::mirrored(7)) {
      ++mirrored;
    } else {
      CHECK(map == PixelMap{});
    }
  }
  CHECK(std::abs(mirrored - count / 2.0) < largest_z * std::sqrt(count) / 2);
}

TEST_CASE("without settings nothing is changed") {
  const Augmentation augmentation;
  CHECK_FALSE(augmentation.active());
  for (std::uint64_t position = 0; position < 100; ++position) {
    const auto [map, labels] = augmentation.draw(key, position, {6, 7});
    CHECK(map == PixelMap{});
    CHECK(labels == std::array<float, 9>{});
  }
}

TEST_CASE("Augmentation refuses what is no probability") {
  CHECK_ERROR(ConfigError, "Augmentation: probability: expected a value in [0, 1], got 1.5",
              Augmentation({.probability = 1.5}));
  CHECK_ERROR(ConfigError, "Augmentation: probability: expected a value in [0, 1], got -0.1",
              Augmentation({.probability = -0.1}));
  CHECK_ERROR(ConfigError, "Augmentation: probability: expected a value in [0, 1], got nan",
              Augmentation({.probability = std::numeric_limits<double>::quiet_NaN()}));
}

}  // namespace
}  // namespace patchdiff
