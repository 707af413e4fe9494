// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/metrics/feature_statistics.hpp>
#include <patchdiff/metrics/torch/feature_classifier.hpp>
#include <patchdiff/sampling/named_solver.hpp>

#include "fashion_features.hpp"

struct FashionJudgeOptions {
  std::int64_t count = 1000;        ///< real images or samples that are compared with the test images
  patchdiff::NamedSolver solver{};  ///< draws the samples, without guidance
  std::int64_t num_steps = 9;       ///< of the solver
};

/// How far images are from the test images: the Fréchet distance in the project's feature space.
class FashionJudge {
 public:
  /// Errors: ConfigError for a sampler that cannot work; ShapeError for images that are not [1, 32, 32].
  explicit FashionJudge(const patchdiff::ArrayDataset& test, FashionJudgeOptions options = {});

  /// Of real images, the floor: as many as of samples. Errors: DataError for fewer images.
  double real(const patchdiff::ArrayDataset& images) const;

  /// Of samples of a model: `distance` of what `draw` draws.
  double samples(const patchdiff::AnyDenoiser<patchdiff::TorchBackend>& denoiser) const;

  /// Samples of seeds 0, 1, ..., with labels in equal shares, in host memory.
  at::Tensor draw(const patchdiff::AnyDenoiser<patchdiff::TorchBackend>& denoiser) const;

  /// Of images [N, 1, 32, 32] in host memory.
  double distance(const at::Tensor& images) const;

 private:
  patchdiff::FeatureStatistics statistics(const patchdiff::ArrayDataset& images, std::int64_t wanted) const;

  FashionJudgeOptions options_;
  patchdiff::FeatureClassifier features_ = fashion_features();
  patchdiff::FeatureStatistics test_;
};
