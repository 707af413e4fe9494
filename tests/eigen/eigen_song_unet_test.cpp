// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/io/load_weights.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/io/safetensors_writer.hpp>
#include <patchdiff/io/settings_json.hpp>
#include <patchdiff/nn/eigen/eigen_song_unet.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = EigenBackend<float>;
using Net = EigenSongUNet<float>;

const SongUNetOptions options{.image = {8, 8},
                              .in_channels = 1 + 2,
                              .out_channels = 1,
                              .model_channels = 8,
                              .channel_mult = {1, 2},
                              .num_blocks = 1,
                              .attn_resolutions = {4},
                              .dropout = 0};

/// A model file as LibTorch's training writes it, its weights of one type.
std::filesystem::path write_model(const std::filesystem::path& path, SafetensorsType type = SafetensorsType::float32,
                                  SongUNetOptions settings = options, const std::string& network = "SongUNet") {
  Net shapes(options);
  std::vector<SafetensorsEntry> entries;
  shapes.visit_state([&](std::string_view name, B::Tensor& value) {
    entries.push_back({.name = "model." + std::string(name), .type = type, .shape = value.shape()});
  });
  SafetensorsWriter writer(path, entries,
                           {{"format", "patchdiff"},
                            {"version", "1"},
                            {"network", network},
                            {"network_settings", settings_json::text(settings)},
                            {"denoiser_settings", settings_json::text(DenoiserOptions{.image = {1, 8, 8}})}});
  for (const SafetensorsEntry& entry : writer.entries()) {
    // Numbers that every type holds: 0.25, -0.25, ... as bits of its upper half.
    std::vector<std::uint16_t> halves;
    for (std::int64_t i = 0; i < element_count(entry.shape); ++i) {
      const std::uint16_t sign = i % 3 == 1 ? 0x8000 : 0;
      if (type == SafetensorsType::float32) halves.push_back(0);
      halves.push_back(static_cast<std::uint16_t>((type == SafetensorsType::float16 ? 0x3400 : 0x3E80) | sign));
    }
    writer.write(std::as_bytes(std::span<const std::uint16_t>(halves)));
  }
  writer.commit();
  return path;
}

std::vector<double> denoised(const DenoiserWrapper<Net>& model) {
  return B::to_host(model(random_tensor<B>({1, 1, 8, 8}, 1), std::vector<double>{0.7}, Places::whole({8, 8}, 1), {}));
}

TEST_CASE("weights in half precision are converted") {
  const TemporaryFolder folder;
  const auto expected = denoised(model_file::load<Net>(write_model(folder / "float32")));
  CHECK(denoised(model_file::load<Net>(write_model(folder / "float16", SafetensorsType::float16))) == expected);
  CHECK(denoised(model_file::load<Net>(write_model(folder / "bfloat16", SafetensorsType::bfloat16))) == expected);
}

TEST_CASE("a model of a network that Eigen lacks is refused by name") {
  const TemporaryFolder folder;
  const auto other = write_model(folder / "other", SafetensorsType::float32, options, "DhariwalUNet");
  CHECK_ERROR(DataError, "model_file: " + other.string() + ": expected network \"SongUNet\", got \"DhariwalUNet\"",
              model_file::load<Net>(other));
  const auto refused = [&](SongUNetOptions settings) {
    return model_file::load<Net>(write_model(folder / "ncsnpp", SafetensorsType::float32, settings));
  };
  SongUNetOptions residual = options, skip = options, filter = options;
  residual.encoder_type = EncoderType::residual;
  skip.decoder_type = DecoderType::skip;
  filter.resample_filter = {1, 3, 3, 1};
  CHECK_ERROR(ConfigError, "SongUNet: encoder_type: expected standard, as on Eigen, got residual", refused(residual));
  CHECK_ERROR(ConfigError, "SongUNet: decoder_type: expected standard, as on Eigen, got skip", refused(skip));
  CHECK_ERROR(ConfigError, "SongUNet: resample_filter: expected [1, 1], as on Eigen, got [1, 3, 3, 1]",
              refused(filter));
}

/// A network whose file is cut off when its second weight is about to be read.
struct CutOff {
  using Backend = B;
  Net& net;
  std::filesystem::path file{};
  int visits = 0;

  template <class Visitor>
  void visit_state(Visitor&& visitor) {
    const bool reading = ++visits == 2;
    net.visit_state([&, weight = 0](std::string_view name, B::Tensor& value) mutable {
      if (reading && ++weight == 2) std::filesystem::resize_file(file, 4096);
      visitor(std::string("model.") + std::string(name), value);
    });
  }
};

TEST_CASE("a file that is written to before its weights are all read is refused; afterwards it may change") {
  const TemporaryFolder folder;
  const auto path = write_model(folder / "model");
  const std::string message = "SafetensorsReader: " + path.string() +
                              ": expected a file that stays as it was opened, got one that was written "
                              "to meanwhile";
  const auto load = [&](const SafetensorsReader& file) { return model_file::load<Net>(file, path.string()); };
  {
    const SafetensorsReader file(path);
    std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
    CHECK_ERROR(DataError, message, load(file));
  }
  {
    const SafetensorsReader file(path);
    std::filesystem::resize_file(path, 4096);
    CHECK_ERROR(DataError, message, load(file));
  }
  write_model(path);
  {
    Net net(options);
    CutOff cut_off{net, path};
    CHECK_ERROR(DataError, message, load_weights(cut_off, SafetensorsReader(path), path.string(), ""));
  }
  write_model(path);
  const auto model = model_file::load<Net>(path);
  const auto before = denoised(model);
  std::filesystem::resize_file(path, 0);
  CHECK(denoised(model) == before);
}

TEST_CASE("EigenSongUNet refuses what does not fit") {
  const Net net(options);
  const std::vector<double> one{0.0};
  CHECK_ERROR(ShapeError, "SongUNet: input: expected [N, 3, h, w] with h and w divisible by 2, got [1, 3, 8, 7]",
              net(B::zeros({1, 3, 8, 7}, {}), one, {}, {}));
  CHECK_ERROR(ShapeError, "SongUNet: c_noise: expected 2 values, got 1", net(B::zeros({2, 3, 8, 8}, {}), one, {}, {}));
  CHECK_ERROR(ShapeError, "SongUNet: class_labels: expected [1, 0], got [1, 2]",
              net(B::zeros({1, 3, 8, 8}, {}), one, {.class_labels = B::zeros({1, 2}, {})}, {}));
  CHECK_ERROR(ConfigError,
              "SongUNet: pass: expected one without dropout and gradients, as this network runs forward alone, got "
              "training",
              net(B::zeros({1, 3, 8, 8}, {}), one, {}, {.training = true}));
}

TEST_CASE("odd sides and any number of channels are the plain sums of a convolution") {
  for (const auto& [in, out, kernel] : {std::tuple{3, 1, 3}, {5, 19, 3}, {4, 33, 1}, {20, 70, 3}}) {
    const ImageSize size{3, 13};
    inference::Convolution<double> convolution("c", in, out, kernel);
    std::vector<double> weights, bias;
    std::uint64_t seed = 0;
    const auto fill = [&](std::string_view name, EigenTensor<double>& value) {
      value.array() = random_tensor<EigenBackend<double>>(value.shape(), ++seed).array();
      (name == "c.weight" ? weights : bias) = EigenBackend<double>::to_host(value);
    };
    convolution.visit_state(fill, {});
    inference::Buffer<double> from, to;
    const auto x = from.bordered(size, in), y = to.image(size, out);
    for (std::int64_t row = 0; row < size.height; ++row) {
      for (std::int64_t i = 0; i < x.row_values(); ++i) x.row(row)[i] = std::sin(static_cast<double>(row * 100 + i));
    }
    convolution(x, y, {});
    double largest = 0;
    for (std::int64_t row = 0; row < size.height; ++row) {
      for (std::int64_t column = 0; column < size.width; ++column) {
        for (std::int64_t o = 0; o < out; ++o) {
          double sum = bias[static_cast<std::size_t>(o)];
          for (std::int64_t i = 0; i < in; ++i) {
            for (std::int64_t tap = 0; tap < kernel * kernel; ++tap) {
              const double weight = weights[static_cast<std::size_t>((o * in + i) * kernel * kernel + tap)];
              sum += weight * x.pixel(row + tap / kernel - kernel / 2, column + tap % kernel - kernel / 2)[i];
            }
          }
          largest = std::max(largest, std::abs(y.pixel(row, column)[o] - sum));
        }
      }
    }
    CHECK(largest < 1e-12);
  }
}

}  // namespace
}  // namespace patchdiff
