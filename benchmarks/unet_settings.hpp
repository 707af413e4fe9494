// SPDX-License-Identifier: Apache-2.0
// The command line of benchmarks that run a DDPM++ network, by default about that of the quick start.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/nn/torch/song_unet.hpp>

#include "compute_device.hpp"
#include "measure.hpp"

struct UNetSettings {
  std::int64_t resolution = 32;
  std::int64_t image_channels = 1;
  std::int64_t label_dim = 10;
  std::int64_t model_channels = 32;
  std::vector<std::int64_t> channel_mult{1, 2, 2};
  std::int64_t num_blocks = 1;
  std::vector<std::int64_t> attn_resolutions{8};
  std::vector<std::int64_t> patches{32, 16, 8};
  std::int64_t batch = 32;
  std::int64_t steps = 20;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  ComputeDevice device{};
  std::string json{};

  patchdiff::ImageShape image() const { return {image_channels, resolution, resolution}; }

  /// With x and y beside the image's channels, without dropout.
  patchdiff::SongUNetOptions network() const {
    return {.image = image().size(),
            .in_channels = image_channels + 2,
            .out_channels = image_channels,
            .label_dim = label_dim,
            .model_channels = model_channels,
            .channel_mult = channel_mult,
            .num_blocks = num_blocks,
            .attn_resolutions = attn_resolutions,
            .dropout = 0};
  }

  /// Class labels for a batch, all of the first class; none without classes.
  std::optional<at::Tensor> labels(std::int64_t count) const {
    if (label_dim == 0) return std::nullopt;
    return at::eye(label_dim, device.options()).slice(0, 0, 1).repeat({count, 1});
  }

  void add_to(CLI::App& app, const std::string& timed) {
    app.add_option("--resolution", resolution, "side of the full image");
    app.add_option("--image-channels", image_channels, "channels of the image");
    app.add_option("--label-dim", label_dim, "width of class labels, 0: none");
    app.add_option("--model-channels", model_channels, "width of the first level");
    app.add_option("--channel-mult", channel_mult, "width of each level")->delimiter(',');
    app.add_option("--num-blocks", num_blocks, "residual blocks a level");
    app.add_option("--attn-resolutions", attn_resolutions, "levels with attention, 0: none")->delimiter(',');
    app.add_option("--patch", patches, "sides of the patches, 0: no timing")->delimiter(',');
    app.add_option("--batch", batch, "images of a " + timed)->check(CLI::PositiveNumber);
    app.add_option("--steps", steps, "timed " + timed + "s of each kind")->check(CLI::PositiveNumber);
    add_threads(app, threads);
    add_json(app, json);
  }

  /// Takes out the zeros that stand for nothing, and sets the threads; to be called after the command line was read.
  void settle() {
    std::erase(attn_resolutions, 0);
    std::erase(patches, 0);
    at::set_num_threads(threads);
  }

  /// What every benchmark's file says of them.
  Json described(const std::string& benchmark) const {
    return {{"benchmark", benchmark},
            {"libtorch", TORCH_VERSION},
            {"device", device.name()},
            {"threads", threads},
            {"resolution", resolution},
            {"image_channels", image_channels},
            {"label_dim", label_dim},
            {"model_channels", model_channels},
            {"channel_mult", channel_mult},
            {"num_blocks", num_blocks},
            {"attn_resolutions", attn_resolutions},
            {"batch", batch},
            {"steps", steps}};
  }
};
