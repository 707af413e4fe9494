// SPDX-License-Identifier: Apache-2.0
// A host's shared library: it shows one function, and lets patchdiff's exceptions through.
#include <array>
#include <cstddef>
#include <cstdint>

#include <patchdiff/eigen.hpp>

namespace pd = patchdiff;
using B = pd::EigenBackend<float>;

/// Crops patches of that side from an image of 8x8, on two threads; returns the values of a patch.
__attribute__((visibility("default"))) int crop(int side) {
  pd::ThreadExecutor pool(2);
  const pd::ImageBatch<B> images{.images = B::zeros({1, 1, 8, 8}, B::Device{})};
  const pd::Places places{.patch = {side, side}, .at = {pd::Place::at(0, 0)}};
  std::array<std::size_t, 2> values{};
  pool.parallel_for(2, pd::IndexTask([&](std::int64_t task) {
                      const auto patch = pd::PatchSampler<B>()(images, places);
                      values[static_cast<std::size_t>(task)] = B::to_host(patch.images).size();
                    }));
  return static_cast<int>(values[0] == values[1] ? values[0] : 0);
}
