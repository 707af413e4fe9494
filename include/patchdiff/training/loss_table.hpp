// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/edm_loss.hpp>
#include <patchdiff/diffusion/formulation.hpp>
#include <patchdiff/training/step_report.hpp>

namespace patchdiff {

/// Rows of a LossTable.
struct LossTableOptions {
  /// Noise levels between two bins, rising, > 0; the first bin begins at 0, the last one has no end.
  std::vector<double> sigma_edges{0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30};
};

/// Mean loss, and how hard the loss pulls, of a run's samples by noise level and patch size: what the distribution of
/// sigma and the mixture of patches do.
///
/// The pull is the norm of the gradient of a sample's loss by its denoised image. A loss L = w |D - y|^2 has the
/// gradient 2 w (D - y), of norm 2 sqrt(w L); the reported loss is that of a pixel and channel, L or L / d for d
/// values, and w the weight of sigma, over d where the reduction is the mean. Exact without a mask or where it is 0
/// and 1.
class LossTable {
 public:
  /// Samples of one noise bin and patch size, at least one.
  struct Row {
    ImageSize patch{};
    double sigma_begin = 0;
    double sigma_end = 0;
    std::uint64_t samples = 0;
    double loss = 0;           ///< mean, per pixel and channel
    double gradient_norm = 0;  ///< mean
  };

  /// Steps of one patch size whose gradients were measured, at least one.
  struct StepRow {
    ImageSize patch{};
    std::uint64_t steps = 0;
    double gradient_norm = 0;  ///< mean over the steps, of all parameters' gradients together, before clipping
  };

  /// `loss` is that of the steps. Errors: ConfigError for edges that do not rise or are not > 0.
  template <class D>
  explicit LossTable(const D& denoiser, EDMLossOptions loss = {}, LossTableOptions options = {})
      : formulation_(denoiser.formulation()),
        channels_(denoiser.image().channels),
        loss_(std::move(loss)),
        edges_(std::move(options.sigma_edges)) {
    double before = 0;
    for (const double edge : edges_) {
      if (!(edge > before) || !std::isfinite(edge)) {
        refuse<ConfigError>("LossTable", "sigma_edges", str("a finite value > ", before), str(edge));
      }
      before = edge;
    }
  }

  /// Takes in the samples of a step, unless it was not finite. Waits for the device.
  template <Backend B>
  void add(const StepReport<B>& report) {
    if (report.finite && !B::read_flag(*report.finite)) return;
    const std::vector<double> losses = B::to_host(report.per_sample);
    const ImageSize patch = report.plan.patch;
    if (report.gradient_norm) {
      StepSum& sum = step_sums_[{patch.height, patch.width}];
      ++sum.steps;
      sum.gradient_norm += B::to_host(*report.gradient_norm).front();
    }
    const auto values = static_cast<double>(channels_ * pixel_count(patch));
    const double scale = loss_.reduction == Reduction::mean ? 1 / values : values;
    std::vector<Cell>& cells = cells_of(patch);
    for (std::size_t sample = 0; sample < losses.size(); ++sample) {
      const double sigma = report.sigma[sample];
      const auto bin = std::upper_bound(edges_.begin(), edges_.end(), sigma) - edges_.begin();
      Cell& cell = cells[static_cast<std::size_t>(bin)];
      ++cell.samples;
      cell.loss += losses[sample];
      cell.gradient_norm += 2 * std::sqrt(scale * loss_.weighting(formulation_, sigma) * losses[sample]);
    }
  }

  /// Takes in another table's samples. Errors: ConfigError for one with other edges.
  void merge(const LossTable& other) {
    if (other.edges_ != edges_) {
      refuse<ConfigError>("LossTable", "sigma_edges", text(edges_), text(other.edges_));
    }
    for (const auto& [size, theirs] : other.cells_) {
      std::vector<Cell>& own = cells_of({size.first, size.second});
      for (std::size_t bin = 0; bin < own.size(); ++bin) {
        own[bin].samples += theirs[bin].samples;
        own[bin].loss += theirs[bin].loss;
        own[bin].gradient_norm += theirs[bin].gradient_norm;
      }
    }
    for (const auto& [size, theirs] : other.step_sums_) {
      StepSum& own = step_sums_[size];
      own.steps += theirs.steps;
      own.gradient_norm += theirs.gradient_norm;
    }
  }

  /// Forgets all samples.
  void reset() noexcept {
    cells_.clear();
    step_sums_.clear();
  }

  /// What was taken in, small patches and low noise first.
  std::vector<Row> rows() const {
    std::vector<Row> all;
    for (const auto& [size, cells] : cells_) {
      for (std::size_t bin = 0; bin < cells.size(); ++bin) {
        const Cell& cell = cells[bin];
        if (cell.samples == 0) continue;
        const auto samples = static_cast<double>(cell.samples);
        all.push_back({.patch = {size.first, size.second},
                       .sigma_begin = bin == 0 ? 0 : edges_[bin - 1],
                       .sigma_end = bin == edges_.size() ? std::numeric_limits<double>::infinity() : edges_[bin],
                       .samples = cell.samples,
                       .loss = cell.loss / samples,
                       .gradient_norm = cell.gradient_norm / samples});
      }
    }
    return all;
  }

  /// The norms of the steps that TrainStep measured (`max_gradient_norm`), small patches first.
  std::vector<StepRow> step_rows() const {
    std::vector<StepRow> all;
    for (const auto& [size, sum] : step_sums_) {
      all.push_back({.patch = {size.first, size.second},
                     .steps = sum.steps,
                     .gradient_norm = sum.gradient_norm / static_cast<double>(sum.steps)});
    }
    return all;
  }

 private:
  /// Sums over the samples of a bin.
  struct Cell {
    std::uint64_t samples = 0;
    double loss = 0;
    double gradient_norm = 0;
  };

  /// Sums over the steps of a patch size.
  struct StepSum {
    std::uint64_t steps = 0;
    double gradient_norm = 0;
  };

  std::vector<Cell>& cells_of(ImageSize patch) {
    std::vector<Cell>& cells = cells_[{patch.height, patch.width}];
    cells.resize(edges_.size() + 1);
    return cells;
  }

  static std::string text(const std::vector<double>& edges) {
    std::string list = "[";
    for (const double edge : edges) list += str(list.size() > 1 ? ", " : "", edge);
    return list + ']';
  }

  Formulation formulation_;
  std::int64_t channels_;
  EDMLossOptions loss_;
  std::vector<double> edges_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<Cell>> cells_{};  ///< by height and width
  std::map<std::pair<std::int64_t, std::int64_t>, StepSum> step_sums_{};
};

}  // namespace patchdiff
