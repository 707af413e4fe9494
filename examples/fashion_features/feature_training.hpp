// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/nll_loss.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/autograd.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/data/data_order.hpp>
#include <patchdiff/data/dataset.hpp>
#include <patchdiff/metrics/torch/feature_classifier.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/optimizer.hpp>

#include "read_images.hpp"

struct FeatureTrainingOptions {
  std::int64_t epochs = 4;
  patchdiff::RandomKey key{};
  patchdiff::TorchDevice device{};
};

template <patchdiff::LabelledDataset Source>
at::Tensor labels_of(const Source& data, const std::vector<std::int64_t>& indices) {
  std::vector<std::int64_t> labels;
  for (const std::int64_t index : indices) labels.push_back(data.label(index));
  return at::tensor(labels, at::kLong);
}

/// Trains a classifier on all images of a data set, whose sides are divisible by 8: its last hidden layer is the
/// feature space.
///
/// `progress(share)` is called after each step. Draws: weights and order by the key.
/// Errors: ConfigError for images or classes that do not suit the classifier.
template <patchdiff::LabelledDataset Source, class Progress>
patchdiff::FeatureClassifier train_features(const Source& data, const FeatureTrainingOptions& options,
                                            const Progress& progress) {
  using B = patchdiff::TorchBackend;
  constexpr std::int64_t batch = 128;
  patchdiff::FeatureClassifier classifier({.image = data.shape(), .classes = data.class_count()}, options.key,
                                          options.device);
  patchdiff::Adam<B> adam;
  const patchdiff::DataOrder order(options.key, static_cast<std::uint64_t>(data.size()));
  const std::int64_t total = options.epochs * data.size();
  for (std::int64_t position = 0; position < total; position += batch) {
    adam.set_learning_rate(2e-3 * (1 - static_cast<double>(position) / static_cast<double>(total)));
    const std::vector<std::int64_t> indices = indices_of(order, position, batch);
    patchdiff::zero_gradients(classifier);
    const at::Tensor logits = classifier.logits(read_images(data, indices).to(options.device.options()));
    const at::Tensor loss =
        at::nll_loss(at::log_softmax(logits, 1), labels_of(data, indices).to(options.device.device));
    torch::autograd::backward({loss}, {});
    adam.step(classifier, B::finite_flag(std::span(&loss, 1)));
    progress(static_cast<double>(std::min(position + batch, total)) / static_cast<double>(total));
  }
  return classifier;
}

/// The share of a data set's images whose class a classifier tells.
template <patchdiff::LabelledDataset Source>
double accuracy(const patchdiff::FeatureClassifier& classifier, const Source& data) {
  const at::NoGradGuard no_grad;
  constexpr std::int64_t at_once = 1000;
  const patchdiff::TorchDevice device = classifier.device();
  std::int64_t right = 0;
  for (std::int64_t first = 0; first < data.size(); first += at_once) {
    const std::vector<std::int64_t> indices =
        indices_of([](std::uint64_t position) { return position; }, first, std::min(at_once, data.size() - first));
    const at::Tensor found = classifier.logits(read_images(data, indices).to(device.options())).argmax(1);
    const at::Tensor labels = labels_of(data, indices);
    right += found.cpu().eq(labels).sum().item<std::int64_t>();
  }
  return static_cast<double>(right) / static_cast<double>(data.size());
}
