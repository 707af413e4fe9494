// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>

#include <patchdiff/backend/backend.hpp>

namespace patchdiff {

/// What turns images into the vectors that metrics compare: [N, C, H, W] in [-1, 1] to [N, dimension].
template <class E>
concept FeatureExtractor = Backend<typename E::Backend> &&
    requires(const E& extractor, const typename E::Backend::Tensor& images) {
  { extractor.features(images) } -> std::same_as<typename E::Backend::Tensor>;
  { extractor.dimension() } -> std::convertible_to<std::int64_t>;
};

}  // namespace patchdiff
