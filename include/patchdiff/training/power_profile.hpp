// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// How a power-function average weighs the weights of a run: those after tau of t images in proportion to tau^gamma.
///
/// The relative width is the standard deviation of that weight, in shares of t.
/// Source: EDM2 (arXiv 2312.02696), equation 2.
class PowerProfile {
 public:
  /// The profile of this width after this many images.
  ///
  /// Errors: ConfigError for a width outside of (0, 1/sqrt(12)], whose end is the plain mean, or no images.
  PowerProfile(double relative_width, std::uint64_t images)
      : relative_width_(relative_width), images_(images), gamma_(gamma_of(relative_width)) {
    require<ConfigError>(images >= 1, "PowerProfile", "images", "at least 1", "0");
  }

  double relative_width() const noexcept { return relative_width_; }
  std::uint64_t images() const noexcept { return images_; }
  double gamma() const noexcept { return gamma_; }

  /// The integral of the product of two profiles. Source: EDM2, equation 151.
  double overlap(const PowerProfile& other) const {
    const auto own = static_cast<double>(images_), others = static_cast<double>(other.images_);
    return (gamma_ + 1) * (other.gamma_ + 1) / (gamma_ + other.gamma_ + 1) / std::max(own, others) *
           (own < others ? std::pow(own / others, other.gamma_) : std::pow(others / own, gamma_));
  }

  /// The exponent of a relative width: the largest root of gamma^3 + 7 gamma^2 + (16 - w^-2) gamma + 12 - w^-2.
  static double gamma_of(double relative_width) {
    require<ConfigError>(relative_width > 0 && relative_width <= std::sqrt(1.0 / 12), "PowerProfile", "relative_width",
                         "a value in (0, 1/sqrt(12)]", relative_width);
    const double square = 1 / (relative_width * relative_width);
    double gamma = 1 / relative_width;  // beyond the root, from where Newton's steps only descend to it
    for (;;) {
      const double value = ((gamma + 7) * gamma + 16 - square) * gamma + 12 - square;
      const double next = gamma - value / ((3 * gamma + 14) * gamma + 16 - square);
      if (!(next < gamma)) return std::max(0.0, gamma);
      gamma = next;
    }
  }

 private:
  double relative_width_;
  std::uint64_t images_;
  double gamma_;
};

/// The shares of snapshots, whose sum is 1, that come closest to the average of another width or moment.
///
/// A snapshot that others make up to rounding has share 0. Cost: a cubic number of operations in double.
/// Source: EDM2 (arXiv 2312.02696), algorithm 3. Errors: ConfigError without snapshots, for a target later than all of
/// them, and where none has weights that the target has.
inline std::vector<double> post_hoc_shares(std::span<const PowerProfile> snapshots, const PowerProfile& target) {
  const std::size_t count = snapshots.size();
  require<ConfigError>(count != 0, "post_hoc_shares", "snapshots", "at least one", "none");
  std::uint64_t latest = 0;
  for (const PowerProfile& snapshot : snapshots) latest = std::max(latest, snapshot.images());
  if (target.images() > latest) {
    refuse<ConfigError>("post_hoc_shares", "target", str("at most ", latest, " images, as of the last snapshot"),
                        str(target.images()));
  }
  // Least squares over profiles of length 1: a symmetric matrix with a diagonal of ones.
  std::vector<double> length(count), rest(count);
  std::vector<std::vector<double>> matrix(count, std::vector<double>(count));
  for (std::size_t row = 0; row < count; ++row) length[row] = std::sqrt(snapshots[row].overlap(snapshots[row]));
  for (std::size_t row = 0; row < count; ++row) {
    rest[row] = snapshots[row].overlap(target) / length[row];
    for (std::size_t column = 0; column < count; ++column) {
      matrix[row][column] = snapshots[row].overlap(snapshots[column]) / (length[row] * length[column]);
    }
  }
  // Elimination; the next pivot is the profile of which the earlier ones leave the most.
  std::vector<std::size_t> waiting(count), pivots;
  for (std::size_t row = 0; row < count; ++row) waiting[row] = row;
  while (!waiting.empty()) {
    const auto most = std::max_element(waiting.begin(), waiting.end(),
                                       [&](std::size_t a, std::size_t b) { return matrix[a][a] < matrix[b][b]; });
    const std::size_t pivot = *most;
    if (matrix[pivot][pivot] < 1e-13) break;
    waiting.erase(most);
    pivots.push_back(pivot);
    for (const std::size_t row : waiting) {
      const double factor = matrix[row][pivot] / matrix[pivot][pivot];
      for (const std::size_t column : waiting) matrix[row][column] -= factor * matrix[pivot][column];
      rest[row] -= factor * rest[pivot];
    }
  }
  std::vector<double> shares(count);
  double sum = 0;
  for (auto pivot = pivots.rbegin(); pivot != pivots.rend(); ++pivot) {
    double value = rest[*pivot];
    for (auto later = pivots.rbegin(); later != pivot; ++later) value -= matrix[*pivot][*later] * shares[*later];
    shares[*pivot] = value / matrix[*pivot][*pivot];
  }
  for (std::size_t row = 0; row < count; ++row) sum += shares[row] /= length[row];
  require<ConfigError>(sum != 0, "post_hoc_shares", "snapshots", "weights that the target has", "none");
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace patchdiff
