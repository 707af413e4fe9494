// SPDX-License-Identifier: Apache-2.0
// The figures of DDPM++ in tests/golden, on Eigen alone; see README.md there for the format.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <patchdiff/eigen.hpp>
#include <patchdiff/io/load_weights.hpp>
#include <patchdiff/io/safetensors_reader.hpp>

#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using Json = nlohmann::json;

const std::filesystem::path folder = PATCHDIFF_GOLDEN_DIR;

/// One figure file and the model that it names.
template <class Scalar>
class Case {
 public:
  using B = EigenBackend<Scalar>;

  explicit Case(const std::filesystem::path& path, EigenDevice<Scalar> device = {}) : file_(path), device_(device) {}

  DenoiserWrapper<EigenSongUNet<Scalar>> denoiser() const {
    const Json config = json("config");
    const std::int64_t side = json("img_resolution"), channels = json("img_channels");
    EigenSongUNet<Scalar> network({.image = {side, side},
                                   .in_channels = channels + 2,
                                   .out_channels = json("out_channels"),
                                   .label_dim = json("label_dim"),
                                   .augment_dim = config.value("augment_dim", std::int64_t{0}),
                                   .model_channels = config.at("model_channels"),
                                   .channel_mult = config.at("channel_mult"),
                                   .num_blocks = config.at("num_blocks"),
                                   .attn_resolutions = config.at("attn_resolutions"),
                                   .dropout = config.at("dropout"),
                                   .implicit_mlp = config.value("implicit_mlp", false)},
                                  device_);
    const std::string weights = (folder / (text("weights") + ".safetensors")).string();
    load_weights(network, SafetensorsReader(weights), weights, "model.");
    return {std::move(network), {.image = {channels, side, side}}};
  }

  std::string text(const std::string& key) const { return file_.metadata().at(key); }
  Json json(const std::string& key) const { return Json::parse(text(key)); }
  std::vector<double> values(const std::string& name) const { return file_.at(name).values<double>(); }
  EigenTensor<Scalar> tensor(const std::string& name) const {
    return patchdiff::tensor<B>(file_.at(name).shape, values(name), device_);
  }

  /// Places whose coordinates are the case's.
  Places places() const {
    const Shape shape = file_.at("coords").shape;
    const std::vector<double> coords = values("coords");
    const auto last = static_cast<double>(json("img_resolution").template get<std::int64_t>() - 1);
    const auto pixel = [&](std::size_t index) { return std::lround((coords[index] + 1) / 2 * last); };
    Places places{{shape[2], shape[3]}, {}};
    const auto plane = static_cast<std::size_t>(shape[2] * shape[3]);
    for (std::size_t n = 0; n < static_cast<std::size_t>(shape[0]); ++n) {
      places.at.push_back(Place::at(pixel((2 * n + 1) * plane), pixel(2 * n * plane)));
    }
    return places;
  }

  /// What the case's model makes of its input.
  std::vector<double> denoised() const {
    const auto model = denoiser();
    Conditioning<B> told;
    if (file_.find("augment_labels") != nullptr) told.augment_labels = tensor("augment_labels");
    if (model.label_dim() > 0) {
      told.class_labels = file_.find("class_labels") != nullptr
                              ? tensor("class_labels")
                              : B::zeros({file_.at("x").shape[0], model.label_dim()}, device_);
    }
    return B::to_host(model(tensor("x"), values("sigma"), places(), told));
  }

 private:
  SafetensorsReader file_;
  EigenDevice<Scalar> device_;
};

/// The largest error, in shares of the largest expected value.
double error(const std::vector<double>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  double largest = 0, most = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    most = std::max(most, std::abs(expected[i]));
    const double off = std::abs(got[i] - expected[i]);
    if (!(off <= largest)) largest = off;
  }
  return largest / most;
}

std::vector<std::filesystem::path> ddpmpp_cases() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("denoiser_ddpmpp")) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

TEST_CASE("DDPM++ on Eigen denoises as the original implementation") {
  const std::vector<std::filesystem::path> paths = ddpmpp_cases();
  CHECK(paths.size() == 6);
  for (const std::filesystem::path& path : paths) {
    CAPTURE(path.filename().string());
    CHECK(error(Case<float>(path).denoised(), Case<float>(path).values("denoised")) < 2e-5);
    CHECK(error(Case<double>(path).denoised(), Case<double>(path).values("denoised")) < 2e-5);
    // The figures are of float32; in double, only their own rounding is left.
    CHECK(error(Case<float>(path).denoised(), Case<double>(path).denoised()) < 2e-6);
  }
}

TEST_CASE("DDPM++ on Eigen gives the same bits on any number of threads, whatever stands beside a sample") {
  for (const std::filesystem::path& path : ddpmpp_cases()) {
    CAPTURE(path.filename().string());
    const std::vector<double> alone = Case<float>(path).denoised();
    for (const int threads : {2, 3}) {
      ThreadExecutor pool(threads);
      CHECK(Case<float>(path, {pool}).denoised() == alone);
    }
  }
}

}  // namespace
}  // namespace patchdiff
