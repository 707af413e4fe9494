// SPDX-License-Identifier: Apache-2.0
#include "sample_judge.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <patchdiff/data/data_order.hpp>
#include <patchdiff/metrics/frechet_distance.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>

#include "read_images.hpp"

namespace pd = patchdiff;
using B = pd::TorchBackend;

namespace {

constexpr std::int64_t at_once = 100;

}  // namespace

SampleJudge::SampleJudge(pd::FeatureClassifier features, const pd::AnyDataset& reference, SampleJudgeOptions options)
    : options_(options), features_(std::move(features)), reference_(statistics(reference, reference.size())) {}

double SampleJudge::real(const pd::AnyDataset& images) const {
  return pd::frechet_distance(statistics(images, options_.count), reference_);
}

double SampleJudge::samples(const pd::AnyDenoiser<B>& denoiser) const { return distance(draw(denoiser)); }

at::Tensor SampleJudge::draw(const pd::AnyDenoiser<B>& denoiser) const {
  const pd::ODESampler sampler({.num_steps = options_.num_steps}, options_.solver);
  const std::int64_t classes = denoiser.label_dim();
  std::vector<at::Tensor> drawn;
  for (std::int64_t first = 0; first < options_.count; first += at_once) {
    const std::int64_t count = std::min(at_once, options_.count - first);
    pd::Conditioning<B> conditioning;
    if (classes > 0) {
      std::vector<std::int64_t> labels;
      for (std::int64_t sample = 0; sample < count; ++sample) labels.push_back((first + sample) % classes);
      conditioning.class_labels = pd::one_hot_labels<B>(labels, classes, denoiser.device());
    }
    const at::Tensor images =
        sampler(denoiser, {.seeds = pd::seed_range(static_cast<std::uint64_t>(first), static_cast<std::size_t>(count)),
                           .conditioning = conditioning});
    drawn.push_back(images.to(at::kCPU, at::kFloat));
  }
  return at::cat(drawn);
}

double SampleJudge::distance(const at::Tensor& images) const {
  pd::FeatureStatistics seen(features_.dimension());
  for (const at::Tensor& part : images.split(at_once)) seen.add(B::to_host(features_.features(part)));
  return pd::frechet_distance(seen, reference_);
}

pd::FeatureStatistics SampleJudge::statistics(const pd::AnyDataset& images, std::int64_t wanted) const {
  const pd::ImageShape expected = features_.options().image;
  if (images.shape() != expected) {
    throw pd::ShapeError("SampleJudge", "images", to_string(expected), to_string(images.shape()));
  }
  if (images.size() < wanted) {
    throw pd::DataError("SampleJudge", "images", fmt::format("at least {}", wanted), fmt::format("{}", images.size()));
  }
  pd::FeatureStatistics seen(features_.dimension());
  const pd::DataOrder order({}, static_cast<std::uint64_t>(images.size()));
  for (std::int64_t first = 0; first < wanted; first += at_once) {
    const std::int64_t count = std::min(at_once, wanted - first);
    seen.add(B::to_host(features_.features(read_images(images, indices_of(order, first, count)))));
  }
  return seen;
}
