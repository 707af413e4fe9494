// SPDX-License-Identifier: Apache-2.0
// What metrics say about images, from features alone.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/io/settings_json.hpp>
#include <patchdiff/metrics/feature_set.hpp>
#include <patchdiff/metrics/kernel_distance.hpp>

/// Features of images of one kind, in random order, and their classes where these are judged apart.
struct ImageFeatures {
  std::string name{};
  patchdiff::FeatureSet features;
  std::vector<std::int64_t> labels{};
};

/// A figure and, where images are drawn again, the interval of 95 % around it.
struct Figure {
  double value = 0;
  std::optional<std::array<double, 2>> interval{};
};

/// What metrics say about images beside the reference; nothing where either are fewer than `Evaluation::least`.
struct Figures {
  std::int64_t images = 0;
  std::int64_t reference = 0;
  std::optional<Figure> frechet_distance{};
  std::optional<patchdiff::KernelDistance> kernel_distance{};
  std::int64_t subset_size = 0;  ///< of the kernel distance
  std::optional<Figure> precision{};
  std::optional<Figure> recall{};
};

/// Figures of all images of one kind, and of each class or none.
struct Judgement {
  std::string name{};
  Figures all{};
  std::vector<Figures> classes{};
};

struct EvaluationOptions {
  std::int64_t resamples = 0;               ///< of the bootstrap, 0: no intervals
  std::vector<std::string> class_names{};   ///< of the classes that are judged apart, or none
  patchdiff::ExecutorReference executor{};  ///< changes no figure
  patchdiff::Log log{};                     ///< hears of too few images
};

/// Compares images with reference images by their features.
///
/// Precision and recall, which depend on the sizes of the sets, are of as many images as reference images; the kernel
/// distance is of subsets of at most 1000 and half of the smaller set. Intervals are of drawing the judged images again
/// (for recall: the reference images, from which it is a share), with all else as it is. Resamples have fewer different
/// images, hence larger Fréchet distances: the interval is moved so that their mean is the figure.
class Evaluation {
 public:
  /// As few images as all metrics take: a third neighbour, and two subsets of two.
  static constexpr std::int64_t least = 4;
  /// Fewer make estimates that say little.
  static constexpr std::int64_t few = 100;

  /// Errors: DataError for fewer reference images than `least`.
  Evaluation(ImageFeatures reference, EvaluationOptions options);

  /// Errors: DataError for fewer images than `least`.
  Judgement judge(const ImageFeatures& images) const;

 private:
  Figures figures(const patchdiff::FeatureSet& reference, const patchdiff::FeatureSet& images) const;
  void warn_of_few(const ImageFeatures& images) const;

  EvaluationOptions options_;
  ImageFeatures reference_;
  std::vector<patchdiff::FeatureSet> reference_classes_;
};

/// A table of figures for people.
std::string table_of(const std::vector<Judgement>& judgements, const std::vector<std::string>& class_names);

/// The same with all digits.
patchdiff::settings_json::Json json_of(const std::vector<Judgement>& judgements,
                                       const std::vector<std::string>& class_names);
