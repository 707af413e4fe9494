// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/share.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>

#include "processes/small_network.hpp"

namespace patchdiff {

/// What processes share besides steps: images to draw, each its seed, and features to measure.
struct ShareTasks {
  using B = EigenBackend<double>;

  std::int64_t samples = 5;
  std::int64_t vectors = 11;
  std::int64_t dimension = 3;

  /// Images of these seeds, one after the other.
  std::vector<double> draw(Share share) const {
    const DenoiserWrapper denoiser{small_network<double>(), {.image = {1, 8, 8}}};
    const auto count = static_cast<std::size_t>(share.count);
    if (count == 0) return {};
    const std::vector<std::int64_t> labels(count, 1);
    return B::to_host(ODESampler{{.num_steps = 3}}(
        denoiser,
        {.seeds = seed_range(share.first, count), .conditioning = {.class_labels = one_hot_labels<B>(labels, 3, {})}}));
  }

  /// Feature vectors of these images, one after the other.
  std::vector<double> features(Share share) const {
    std::vector<double> all;
    for (std::int64_t image = 0; image < share.count; ++image) {
      std::vector<double> vector(static_cast<std::size_t>(dimension));
      RandomStream({4}, Purpose::data_order, 0, share.first + static_cast<std::uint64_t>(image))
          .normals(std::span(vector));
      all.insert(all.end(), vector.begin(), vector.end());
    }
    return all;
  }
};

}  // namespace patchdiff
