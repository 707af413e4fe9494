// SPDX-License-Identifier: Apache-2.0
// What the Python tests compare with:
//   python_model train MODEL           trains a small model for two steps and writes it
//   python_model reference MODEL OUT   writes a model's weights, noise, labels and what a sampler makes of them
#include <cstdint>
#include <exception>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/safetensors_writer.hpp>
#include <patchdiff/nn/any_network.hpp>
#include <patchdiff/torch.hpp>

namespace {

namespace pd = patchdiff;
using B = pd::TorchBackend;
using AnyUNet = pd::AnyNetwork<pd::SongUNet, pd::DhariwalUNet>;

void train(const std::string& path) {
  constexpr std::int64_t images = 16, classes = 3;
  pd::LabelledImages stored{.shape = {2, 16, 32}, .class_count = classes};
  for (std::int64_t image = 0; image < images; ++image) stored.labels.push_back(image % classes);
  for (std::int64_t value = 0; value < images * 2 * 16 * 32; ++value) {
    stored.pixels.push_back(static_cast<std::uint8_t>(value * value % 251));
  }
  const pd::ArrayDataset data(std::move(stored));
  pd::DenoiserWrapper denoiser(pd::SongUNet({.image = {16, 32},
                                             .in_channels = 2 + 2,
                                             .out_channels = 2,
                                             .label_dim = classes,
                                             .model_channels = 8,
                                             .channel_mult = {1, 2},
                                             .num_blocks = 1,
                                             .attn_resolutions = {16},
                                             .dropout = 0.1},
                                            {5}),
                               {.image = {2, 16, 32}, .formulation = pd::EDM{.sigma_data = 0.7}});
  // Weights that are zero at the start would hide what they multiply.
  denoiser.visit_state([&, step = std::uint64_t{0}](std::string_view, at::Tensor& value) mutable {
    std::vector<float> noise(static_cast<std::size_t>(value.numel()));
    pd::RandomStream({7}, pd::Purpose::training_noise, step++, 0).normals(std::span(noise));
    const at::NoGradGuard no_grad;
    if (value.numel() > 4) value.add_(0.1 * B::from_host(std::span<const float>(noise), B::shape(value), {}));
  });
  pd::Loader<B, pd::ArrayDataset> loader(data, denoiser.device(), {.seed = 1});
  const pd::TrainStep<B> step({.schedule = pd::PatchSizeSchedule::stochastic({.image = {16, 32}}), .batch = 4});
  pd::Adam<B> optimizer;
  pd::TrainState state{.seed = 1};
  for (int count = 0; count < 2; ++count) {
    const pd::PatchPlan plan = step.plan(state);
    step(denoiser, optimizer, loader.take(plan), plan, state);
  }
  pd::model_file::save(path, denoiser);
}

/// Tensors for a file, in float64.
struct Tensors {
  std::map<std::string, std::pair<pd::Shape, std::vector<double>>> values{};

  void add(const std::string& name, const at::Tensor& tensor) { values[name] = {B::shape(tensor), B::to_host(tensor)}; }

  void write(const std::string& path) const {
    std::vector<pd::SafetensorsTensor> tensors;
    for (const auto& [name, value] : values) {
      pd::SafetensorsTensor tensor{{name, pd::SafetensorsType::float64, value.first}};
      tensor.data = std::as_bytes(std::span(value.second));
      tensors.push_back(tensor);
    }
    pd::write_safetensors(path, tensors);
  }
};

void write_reference(const std::string& model, const std::string& path) {
  auto denoiser = pd::model_file::load<AnyUNet>(model);
  constexpr std::int64_t count = 3, steps = 5;
  const pd::ImageShape image = denoiser.image();
  pd::SampleRequest<B> request{.seeds = pd::seed_range(11, count)};
  Tensors tensors;
  denoiser.visit_state(
      [&](std::string_view name, const at::Tensor& value) { tensors.add(fmt::format("weights.{}", name), value); });
  if (denoiser.label_dim() > 0) {
    const std::vector<std::int64_t> labels{0, denoiser.label_dim() - 1, 0};
    request.conditioning.class_labels = pd::one_hot_labels<B>(labels, denoiser.label_dim(), denoiser.device());
    tensors.add("labels", *request.conditioning.class_labels);
  }
  tensors.add("noise", pd::pixel_noise<B::Wide>(request.seeds, pd::Purpose::initial_noise, 0, 0, image,
                                                {0, 0, image.height, image.width}, B::wide_device(denoiser.device())));
  pd::ODESampler{{.num_steps = steps}}(denoiser, request, [&](const auto& progress) {
    tensors.add(fmt::format("state{}", progress.step), progress.x);
    return pd::Flow::proceed;
  });
  tensors.write(path);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 2 && words[0] == "train") {
      train(words[1]);
    } else if (words.size() == 3 && words[0] == "reference") {
      write_reference(words[1], words[2]);
    } else {
      return 2;
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "python_model: {}\n", error.what());
    return 1;
  }
}
