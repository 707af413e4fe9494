// SPDX-License-Identifier: Apache-2.0
// Components of a training step beside their limits, in turns: crop and coordinates beside a copy of as many bytes, on
// both backends; draws of normal numbers beside LibTorch's; Adam and the average beside the bandwidth of a copy. Prints
// medians of ratios by the clock and, with --json, writes every figure.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <patchdiff/eigen.hpp>
#include <patchdiff/torch.hpp>

#include "compute_device.hpp"
#include "measure.hpp"

namespace {

namespace pd = patchdiff;

struct Settings {
  std::int64_t repeats = 200;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  ComputeDevice device{};
  std::string json{};

  /// Two pieces of work in turns, each with what it gives the device to do.
  Comparison compare(const std::function<void()>& one, const std::function<void()>& other) const {
    return {repeats, one, other, [this] {
              device.wait();
              return clock_seconds();
            }};
  }
};

Json figures_of(const std::string& what, const Comparison& result) {
  return {{"component", what},
          {"time", to_json(result.first)},
          {"limit", to_json(result.second)},
          {"ratio", ratio_to_json(result.ratio)}};
}

struct CropCase {
  std::int64_t batch, channels, resolution, patch;

  std::size_t bytes() const { return static_cast<std::size_t>(batch * (channels + 2) * patch * patch) * sizeof(float); }
};

/// Errors: runtime_error for another patch or place than the definition gives.
template <class B>
void require_right(const CropCase& given, const std::vector<float>& pixels, const pd::PatchBatch<B>& patches,
                   const typename B::Tensor& coordinates) {
  const std::vector<double> got = B::to_host(patches.images), where = B::to_host(coordinates);
  const std::int64_t side = given.resolution, patch = given.patch;
  const auto coordinate = [&](std::int64_t pixel) {
    return 2.0 * static_cast<double>(pixel) / static_cast<double>(side - 1) - 1;
  };
  auto value = got.begin();
  for (std::int64_t sample = 0; sample < given.batch; ++sample) {
    const pd::Place& place = patches.places.at[static_cast<std::size_t>(sample)];
    for (std::int64_t channel = 0; channel < given.channels; ++channel) {
      for (std::int64_t row = 0; row < patch; ++row, value += patch) {
        const std::int64_t plane = sample * given.channels + channel;
        const auto from = pixels.begin() + (plane * side + place.top + row) * side + place.left;
        if (!std::equal(from, from + patch, value)) throw std::runtime_error("wrong crop");
      }
    }
    auto x = where.begin() + sample * 2 * patch * patch, y = x + patch * patch;
    for (std::int64_t row = 0; row < patch; ++row) {
      for (std::int64_t column = 0; column < patch; ++column, ++x, ++y) {
        if (std::abs(*x - coordinate(place.left + column)) > 1e-6 ||
            std::abs(*y - coordinate(place.top + row)) > 1e-6) {
          throw std::runtime_error("wrong coordinates");
        }
      }
    }
  }
}

/// `copy(bytes)` returns work that copies as many bytes on the backend's device, by as many threads.
template <class B, class Copy>
Json crop(const Settings& settings, const std::string& backend, const CropCase& given, typename B::Device device,
          const Copy& copy) {
  const pd::ImageSize image{given.resolution, given.resolution};
  std::vector<float> pixels(static_cast<std::size_t>(given.batch * given.channels * pd::pixel_count(image)));
  for (std::size_t index = 0; index < pixels.size(); ++index) pixels[index] = static_cast<float>(index % 65521);
  const pd::ImageBatch<B> batch{.images =
                                    B::from_host(std::span<const float>(pixels),
                                                 {given.batch, given.channels, image.height, image.width}, device)};
  const pd::PatchSampler<B> sampler;
  const pd::CoordEncoder<B> encoder(image);
  const pd::PatchPlan plan{.patch = {given.patch, given.patch}, .key = {1}};
  const auto cut = sampler(batch, sampler.places(plan, image, given.batch));
  require_right<B>(given, pixels, cut, encoder(cut.places, device));
  const Comparison result = settings.compare(
      [&] {
        const auto drawn = sampler.places(plan, image, given.batch);
        const auto patches = sampler(batch, drawn);
        encoder(patches.places, device);
      },
      copy(given.bytes()));
  const std::string what = fmt::format("crop and coordinates, {}, [{},{},{},{}] to {}", backend, given.batch,
                                       given.channels, given.resolution, given.resolution, given.patch);
  fmt::print("{:58} {:7.1f} us, {:.2f} copies\n", what, 1e6 * result.first.median, result.ratio.median);
  return figures_of(what, result);
}

Json normals(const Settings& settings, std::int64_t batch, std::int64_t values) {
  const pd::PatchPlan plan{.key = {1}};
  const pd::Shape shape{batch, values};
  const pd::TorchDevice device = settings.device.torch_device();
  const auto [deviation, mean] = at::std_mean(pd::training_noise<pd::TorchBackend>(plan, 0, shape, device));
  const double standard_error = 1 / std::sqrt(static_cast<double>(batch * values));
  if (std::abs(mean.item<double>()) > 5 * standard_error ||
      std::abs(deviation.item<double>() - 1) > 5 * standard_error) {
    throw std::runtime_error("training noise is not of mean 0 and deviation 1");
  }
  const Comparison result = settings.compare([&] { pd::training_noise<pd::TorchBackend>(plan, 0, shape, device); },
                                             [&] { at::randn(shape, device.options()); });
  const std::string what = fmt::format("normal numbers, {} of {}", batch, values);
  fmt::print("{:58} {:7.1f} us, {:.2f} of LibTorch's randn\n", what, 1e6 * result.first.median, result.ratio.median);
  return figures_of(what, result);
}

/// As devices without a kernel of ours draw, beside the host's kernel and an upload.
Json normals_by_operations(const Settings& settings, std::int64_t batch, std::int64_t values) {
  using B = pd::TorchBackend;
  pd::NormalDraws draws{.streams = {}, .length = static_cast<std::size_t>(values)};
  for (std::int64_t sample = 0; sample < batch; ++sample) {
    draws.streams.push_back({{1}, pd::Purpose::training_noise, 0, static_cast<std::uint64_t>(sample)});
  }
  const pd::Shape shape{batch, values};
  const pd::TorchDevice device = settings.device.torch_device();
  const auto by_operations = [&] { return B::normals<float>(draws, shape, device); };
  const auto by_host = [&] {
    const std::vector<float> numbers = draws.values<float>();
    return B::from_host(std::span<const float>(numbers), shape, device);
  };
  if (!at::allclose(by_operations(), by_host(), 0, 1e-6)) throw std::runtime_error("wrong normal numbers");
  const Comparison result = settings.compare(by_operations, by_host);
  const std::string what = fmt::format("normal numbers by operations, {} of {}", batch, values);
  fmt::print("{:58} {:7.1f} us, {:.2f} of the host's kernel\n", what, 1e6 * result.first.median, result.ratio.median);
  return figures_of(what, result);
}

/// Adam reads 4 values and writes 3, the average reads 2 and writes 1; a copy reads 1 and writes 1.
Json update(const Settings& settings, std::int64_t values) {
  using B = pd::TorchBackend;
  const at::TensorOptions options = settings.device.options();
  at::Tensor value = at::randn({values}, options), mean = at::zeros_like(value), square = at::zeros_like(value);
  at::Tensor average = value.clone(), to = value.clone();
  const at::Tensor gradient = at::randn({values}, options), count = at::ones({}, options), flag = at::ones({}, options);
  const at::Tensor before = value.clone();
  const pd::AdamSettings adam;
  B::adam_update(value, mean, square, gradient, count, flag, adam);
  B::blend(average, value, 1e-3);
  const at::Tensor first_step = adam.learning_rate * gradient / (gradient.abs() + adam.epsilon);
  if (!at::allclose(value, before - first_step, 0, 1e-5) ||
      !at::allclose(average, before + 1e-3 * (value - before), 0, 1e-6)) {
    throw std::runtime_error("wrong weights or average");
  }
  const Comparison result = settings.compare(
      [&] {
        B::adam_update(value, mean, square, gradient, count, flag, {});
        B::blend(average, value, 1e-3);
      },
      [&] { to.copy_(gradient); });
  const double share = 10.0 / 2 / result.ratio.median;
  const std::string what = fmt::format("Adam and average of {} values", values);
  fmt::print("{:58} {:7.1f} us, {:.0f} % of a copy's bandwidth\n", what, 1e6 * result.first.median, 100 * share);
  Json figures = figures_of(what, result);
  figures["bandwidth_share"] = share;
  return figures;
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  pd::ThreadExecutor executor(settings.threads);
  // The copies' buffers live in what they return.
  const auto by_libtorch = [&](std::size_t bytes) {
    const at::Tensor from = at::ones({static_cast<std::int64_t>(bytes)}, settings.device.options().dtype(at::kChar));
    return [from, to = at::zeros_like(from)] {
      if (!from.is_cpu()) return static_cast<void>(to.copy_(from));
      at::parallel_for(0, from.numel(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
        std::memcpy(to.data_ptr<std::int8_t>() + begin, from.data_ptr<std::int8_t>() + begin,
                    static_cast<std::size_t>(end - begin));
      });
    };
  };
  const auto by_executor = [&](std::size_t bytes) {
    return [&, bytes, from = std::vector<char>(bytes, 1), to = std::vector<char>(bytes, 2)]() mutable {
      const auto parts = static_cast<std::size_t>(settings.threads);
      executor.parallel_for(settings.threads, pd::IndexTask([&](std::int64_t part) {
                              const std::size_t begin = bytes * static_cast<std::size_t>(part) / parts;
                              std::memcpy(to.data() + begin, from.data() + begin,
                                          bytes * static_cast<std::size_t>(part + 1) / parts - begin);
                            }));
    };
  };
  Json results = Json::array();
  for (const CropCase& given : {CropCase{128, 3, 64, 16}, CropCase{64, 3, 256, 64}, CropCase{16, 3, 512, 128}}) {
    results.push_back(crop<pd::TorchBackend>(settings, "LibTorch", given, settings.device.torch_device(), by_libtorch));
    if (settings.device.is_cpu()) {
      results.push_back(crop<pd::EigenBackend<float>>(settings, "Eigen", given, {executor}, by_executor));
    }
  }
  for (const std::int64_t side : {16, 64}) {
    results.push_back(normals(settings, 128, 3 * side * side));
    results.push_back(normals_by_operations(settings, 128, 3 * side * side));
  }
  for (const std::int64_t values : {1 << 16, 1 << 22}) results.push_back(update(settings, values));
  write_figures(settings.json, "component_bench",
                {{"benchmark", "component"},
                 {"libtorch", TORCH_VERSION},
                 {"device", settings.device.name()},
                 {"threads", settings.threads},
                 {"repeats", settings.repeats},
                 {"results", results}});
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Times the components of a training step beside their limits.", "component_bench"};
  app.add_option("--repeats", settings.repeats, "turns")->check(CLI::PositiveNumber);
  settings.device.add_to(app);
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_program(app, argc, argv, [&] { run(settings); });
}
