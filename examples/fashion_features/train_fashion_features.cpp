// SPDX-License-Identifier: Apache-2.0
// Says how well the classifier of the project's feature space classifies, or trains it anew. The weights beside this
// file were written by it; new ones would make every stated distance incomparable.

#include <algorithm>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/nll_loss.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <patchdiff/data/data_order.hpp>
#include <patchdiff/data/idx_dataset.hpp>
#include <patchdiff/io/save_weights.hpp>
#include <patchdiff/metrics/torch/feature_classifier.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/optimizer.hpp>

#include "fashion_features.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;

constexpr std::int64_t batch = 128;
constexpr std::uint64_t epochs = 4;
constexpr pd::RandomKey key{2304};

pd::ArrayDataset read(const fs::path& folder, const std::string& split) {
  return pd::read_idx_dataset({.images = folder / (split + "-images-idx3-ubyte.gz"),
                               .labels = folder / (split + "-labels-idx1-ubyte.gz"),
                               .pad_to = {32, 32}});
}

struct Batch {
  at::Tensor images;
  at::Tensor labels;
};

/// The images at positions first, first + 1, ... of an order.
template <class Order>
Batch take(const pd::ArrayDataset& data, const Order& order, std::uint64_t first, std::int64_t count) {
  Batch taken{at::empty({count, 1, 32, 32}), at::empty({count}, at::kLong)};
  for (std::int64_t n = 0; n < count; ++n) {
    const auto index = static_cast<std::int64_t>(order(first + static_cast<std::uint64_t>(n)));
    data.read(index, {taken.images.data_ptr<float>() + n * 32 * 32, 32 * 32});
    taken.labels.data_ptr<std::int64_t>()[n] = data.label(index);
  }
  return taken;
}

double accuracy(const pd::FeatureClassifier& classifier, const pd::ArrayDataset& data) {
  const at::NoGradGuard no_grad;
  std::int64_t right = 0;
  for (std::int64_t first = 0; first < data.size(); first += 1000) {
    const Batch taken = take(
        data, [](std::uint64_t position) { return position; }, static_cast<std::uint64_t>(first),
        std::min<std::int64_t>(1000, data.size() - first));
    right += classifier.logits(taken.images).argmax(1).eq(taken.labels).sum().item<std::int64_t>();
  }
  return static_cast<double>(right) / static_cast<double>(data.size());
}

pd::FeatureClassifier trained(const pd::ArrayDataset& training) {
  pd::FeatureClassifier classifier({.image = {1, 32, 32}, .classes = 10}, key);
  pd::Adam<B> adam;
  const auto images = static_cast<std::uint64_t>(training.size());
  const pd::DataOrder order(key, images);
  for (std::uint64_t position = 0; position < epochs * images; position += batch) {
    adam.set_learning_rate(2e-3 * (1 - static_cast<double>(position) / static_cast<double>(epochs * images)));
    const Batch taken = take(training, order, position, batch);
    pd::zero_gradients(classifier);
    const at::Tensor loss = at::nll_loss(at::log_softmax(classifier.logits(taken.images), 1), taken.labels);
    torch::autograd::backward({loss}, {});
    adam.step(classifier, B::finite_flag({}));
  }
  return classifier;
}

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
    const fs::path data = argv[1];
    const pd::ArrayDataset test = read(data, "t10k");
    if (argc == 2) return judge(fashion_features(), test) ? 0 : 1;
    pd::FeatureClassifier classifier = trained(read(data, "train"));
    pd::save_weights(classifier, argv[2], "");
    return judge(classifier, test) ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "train_fashion_features: {}\n", error.what());
    return 1;
  }
}
