// SPDX-License-Identifier: Apache-2.0
#include "support/torch_catch.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/save_weights.hpp>
#include <patchdiff/metrics/torch/feature_classifier.hpp>
#include <patchdiff/metrics/torch/torch_script_features.hpp>

#include "fashion_features/feature_classifier_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

/// A file whose network is this TorchScript, with one weight `scale` of 2, saved while in training mode.
std::filesystem::path script(const TemporaryFolder& folder, const std::string& source) {
  torch::jit::Module network("Network");
  network.register_parameter("scale", at::full({}, 2.0F), false);
  network.register_attribute("training", c10::BoolType::get(), true);
  network.define(source);
  network.save((folder / "network.pt").string());
  return folder / "network.pt";
}

at::Tensor floats(const std::vector<float>& values) { return at::tensor(at::ArrayRef<float>(values)); }

constexpr const char* identity = "def forward(self, x):\n  return x.flatten(1)\n";

std::string refusal(const std::filesystem::path& file, ImageShape image = {1, 2, 3}) {
  try {
    const TorchScriptFeatures features(file, {.image = image});
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST_CASE("a classifier's file gives back its features, and other files are refused") {
  const TemporaryFolder folder;
  FeatureClassifier classifier({.image = {1, 8, 16}, .classes = 3}, {5});
  save_feature_classifier(folder / "features", classifier);
  const at::Tensor images = at::linspace(-1, 1, 2 * 8 * 16).view({2, 1, 8, 16});
  const FeatureClassifier loaded = load_feature_classifier(folder / "features");
  CHECK(loaded.options().classes == 3);
  CHECK(at::equal(loaded.features(images), classifier.features(images)));

  save_weights(classifier, folder / "weights", "", {{"format", "patchdiff"}, {"network", "SongUNet"}});
  CHECK_ERROR(DataError,
              "load_feature_classifier: " + (folder / "weights").string() +
                  ": expected network \"FeatureClassifier\", got \"SongUNet\"",
              load_feature_classifier(folder / "weights"));
  save_weights(classifier, folder / "later", "",
               {{"format", "patchdiff"}, {"network", "FeatureClassifier"}, {"version", "2"}});
  CHECK_ERROR(DataError,
              "load_feature_classifier: " + (folder / "later").string() +
                  ": expected version 1, got 2, of a newer patchdiff: use that one",
              load_feature_classifier(folder / "later"));
}

TEST_CASE("a classifier refuses images of another size") {
  const FeatureClassifier classifier({.image = {1, 8, 16}, .classes = 3});
  for (const Shape& shape : {Shape{2, 1, 9, 17}, Shape{2, 1, 16, 8}, Shape{2, 3, 8, 16}, Shape{1, 8, 16}}) {
    const std::string text = "FeatureClassifier: images: expected [N, 1, 8, 16], got " + to_string(shape);
    CHECK_ERROR(ShapeError, text, classifier.features(at::zeros(shape)));
    CHECK_ERROR(ShapeError, text, classifier.logits(at::zeros(shape)));
  }
}

TEST_CASE("features are what the file's network makes of the images") {
  const TemporaryFolder folder;
  const TorchScriptFeatures features(
      script(folder, "def forward(self, x):\n  assert not self.training\n  return self.scale * x.mean([2, 3])\n"),
      {.image = {3, 4, 5}, .eight_bit = false});
  CHECK(features.dimension() == 3);
  const at::Tensor images = at::linspace(-1, 1, 2 * 3 * 4 * 5).view({2, 3, 4, 5}).set_requires_grad(true);
  const at::Tensor found = features.features(images);
  CHECK(at::allclose(found, 2 * images.mean({2, 3})));
  CHECK(!found.requires_grad());
}

TEST_CASE("images are brought into the form that the network takes") {
  const TemporaryFolder folder;
  const auto file = script(folder, identity);
  const at::Tensor grey = floats({-1.5F, -1.0F, 0.003F, 1.0F}).view({1, 1, 2, 2});
  const TorchScriptFeatures bytes(file, {.image = {3, 2, 2}, .black = 0, .white = 255});
  CHECK(at::allclose(bytes.features(grey), floats({0.F, 0.F, 128.F, 255.F}).repeat({1, 3}), 0, 1e-4));
  const TorchScriptFeatures normalised(
      file,
      {.image = {2, 1, 1}, .eight_bit = false, .black = 0, .white = 1, .mean = {0.5, 0.25}, .deviation = {2, 0.5}});
  const at::Tensor two = floats({0.0F, 1.0F}).view({1, 2, 1, 1});
  CHECK(at::allclose(normalised.features(two), floats({0, 1.5F}).view({1, 2})));
}

TEST_CASE("images of other sizes are resized with antialiasing") {
  const TemporaryFolder folder;
  const TorchScriptFeatures features(script(folder, identity), {.image = {1, 2, 2}, .eight_bit = false});
  // Stripes a pixel wide: without antialiasing, every second pixel would be left out.
  const at::Tensor stripes = floats({1.0F, -1.0F}).repeat({1, 1, 16, 8});
  CHECK(features.features(stripes).abs().max().item<float>() < 0.1F);
  const at::Tensor flat = at::full({1, 1, 5, 3}, 0.25);
  CHECK(at::allclose(features.features(flat), at::full({1, 4}, 0.25F)));
}

TEST_CASE("flags of the network's forward are set") {
  const TemporaryFolder folder;
  const auto file = script(folder,
                           "def forward(self, x, return_features: bool = False):\n"
                           "  if return_features:\n    return x.flatten(1)\n  return x.mean([1, 2, 3]).unsqueeze(1)\n");
  CHECK(TorchScriptFeatures(file, {.image = {1, 2, 3}}).dimension() == 1);
  CHECK(TorchScriptFeatures(file, {.image = {1, 2, 3}, .flags = {"return_features"}}).dimension() == 6);
}

TEST_CASE("files that give no features are refused") {
  const TemporaryFolder folder;
  const std::string name = "TorchScriptFeatures: " + (folder / "network.pt").string();
  CHECK_ERROR(FileError, name + ": expected a readable file, got none",
              TorchScriptFeatures(folder / "network.pt", {.image = {1, 2, 3}}));
  CHECK(refusal(folder.add("network.pt", "weights")).starts_with(name + ": expected a TorchScript file, got \""));
  const auto file = [&](const std::string& body) { return script(folder, "def forward(self, x):\n  " + body + "\n"); };
  CHECK(refusal(file("return x")) == name + ": expected output [2, features], got Float [2, 1, 2, 3]");
  CHECK(refusal(file("return x.mean([0, 2, 3]).unsqueeze(0)")) ==
        name + ": expected output [2, features], got Float [1, 1]");
  CHECK(refusal(file("return x.flatten(1) > 0")) == name + ": expected output [2, features], got Bool [2, 6]");
  CHECK(refusal(file("return (x, x)")) == name + ": expected output [2, features], got Tuple");
  CHECK(refusal(file("return x.view([7, -1])")).starts_with(name + ": expected a network of images 1x2x3, got \""));
  // Shapes that differ between calls.
  const TorchScriptFeatures changing(file("return x.flatten(1)[:, :1 + int(x[0, 0, 0, 0] > 0)]"), {.image = {1, 2, 3}});
  CHECK_ERROR(DataError, name + ": expected output [4, 1], got Float [4, 2]",
              changing.features(at::ones({4, 1, 2, 3})));
}

TEST_CASE("TorchScriptFeatures refuses options and images that do not fit") {
  const TemporaryFolder folder;
  const auto file = script(folder, identity);
  CHECK_ERROR(ConfigError, "TorchScriptFeatures: image: expected at least one channel and pixel, got 0x0x0",
              TorchScriptFeatures(file, {}));
  CHECK_ERROR(ConfigError, "TorchScriptFeatures: mean: expected 3 values or none, got 1",
              TorchScriptFeatures(file, {.image = {3, 2, 2}, .mean = {0.5}}));
  CHECK_ERROR(ConfigError, "TorchScriptFeatures: deviation: expected above 0, got 0",
              TorchScriptFeatures(file, {.image = {1, 2, 2}, .deviation = {0}}));
  CHECK_ERROR(ConfigError, "TorchScriptFeatures: white: expected above 1, got 1",
              TorchScriptFeatures(file, {.image = {1, 2, 2}, .black = 1}));
  const TorchScriptFeatures features(file, {.image = {3, 2, 2}});
  CHECK_ERROR(ShapeError, "TorchScriptFeatures: images: expected [N, 3, H, W], got [1, 2, 2, 2]",
              features.features(at::zeros({1, 2, 2, 2})));
}

}  // namespace
}  // namespace patchdiff
