// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <patchdiff/metrics/torch/feature_classifier.hpp>

/// The project's one feature space for Fashion-MNIST: a small classifier's last hidden layer, with weights that are
/// part of the program. Every Fréchet distance that the project states is measured in it.
///
/// Shapes: images [N, 1, 32, 32] in [-1, 1], padded with black from 28x28.
patchdiff::FeatureClassifier fashion_features(patchdiff::TorchDevice device = {});
