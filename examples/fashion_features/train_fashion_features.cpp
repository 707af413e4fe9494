// SPDX-License-Identifier: Apache-2.0
// Says how well the classifier of the project's feature space classifies, or trains it anew. The weights beside this
// file were written by it; new ones would make every stated distance incomparable.

#include <exception>
#include <filesystem>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <patchdiff/io/save_weights.hpp>
#include <patchdiff/metrics/torch/feature_classifier.hpp>

#include "fashion_features.hpp"
#include "feature_training.hpp"
#include "shared/fashion_mnist.hpp"

namespace {

namespace pd = patchdiff;

constexpr pd::RandomKey key{2304};

/// Whether the weights classify well enough to be a feature space.
bool judge(const pd::FeatureClassifier& classifier, const pd::ArrayDataset& test) {
  const double share = accuracy(classifier, test);
  fmt::print("test accuracy {:.2f} %\n", 100 * share);
  return share >= 0.88;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    fmt::print(stderr,
               "usage: train_fashion_features DATA [OUT.safetensors]\n"
               "Judges the weights of this program, or trains new ones and writes them.\n");
    return 2;
  }
  try {
    at::set_num_threads(2);
    const std::filesystem::path data = argv[1];
    const pd::ArrayDataset test = fashion_mnist(data, "t10k");
    if (argc == 2) return judge(fashion_features(), test) ? 0 : 1;
    pd::FeatureClassifier classifier = train_features(fashion_mnist(data, "train"), {.key = key}, [](double) {});
    pd::save_weights(classifier, argv[2], "");
    return judge(classifier, test) ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "train_fashion_features: {}\n", error.what());
    return 1;
  }
}
