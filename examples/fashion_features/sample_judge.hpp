// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/metrics/feature_statistics.hpp>
#include <patchdiff/metrics/torch/feature_classifier.hpp>
#include <patchdiff/sampling/named_solver.hpp>

struct SampleJudgeOptions {
  std::int64_t count = 1000;        ///< real images or samples that are compared with the reference
  patchdiff::NamedSolver solver{};  ///< draws the samples, without guidance
  std::int64_t num_steps = 9;       ///< of the solver
};

/// How far images are from those of a reference: the Fréchet distance in a classifier's feature space.
class SampleJudge {
 public:
  /// Errors: ShapeError for images of another shape than the classifier takes.
  SampleJudge(patchdiff::FeatureClassifier features, const patchdiff::AnyDataset& reference,
              SampleJudgeOptions options = {});

  /// Of real images, the floor: as many as of samples. Errors: DataError for fewer images.
  double real(const patchdiff::AnyDataset& images) const;

  /// Of samples of a model: `distance` of what `draw` draws.
  double samples(const patchdiff::AnyDenoiser<patchdiff::TorchBackend>& denoiser) const;

  /// Samples of seeds 0, 1, ..., with labels in equal shares, in host memory.
  at::Tensor draw(const patchdiff::AnyDenoiser<patchdiff::TorchBackend>& denoiser) const;

  /// Of images [N, C, H, W] in host memory.
  double distance(const at::Tensor& images) const;

 private:
  patchdiff::FeatureStatistics statistics(const patchdiff::AnyDataset& images, std::int64_t wanted) const;

  SampleJudgeOptions options_;
  patchdiff::FeatureClassifier features_;
  patchdiff::FeatureStatistics reference_;
};
