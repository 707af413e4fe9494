// SPDX-License-Identifier: Apache-2.0
// Included by both files after every header of the library. All here is local to its file, or the linker would keep one
// of two.
#pragma once

namespace patchdiff {
namespace {

/// A round through a backend: what every file of a program must get alike.
template <Backend B>
std::vector<double> round_trip(typename B::Device device) {
  const std::vector<float> pixels{1, 2, 3, 4, 5, 6, 7, 8, 9};
  const auto images = B::from_host(std::span<const float>(pixels), {1, 1, 3, 3}, device);
  const Places places{{2, 2}, {Place::at(2, 1)}};
  const auto patches = B::crop(images, places);
  const auto coordinates = CoordEncoder<B>({3, 3}, {.fourier_frequencies = 1})(places, device);
  return B::to_host(B::concat(std::array{patches, coordinates}, 1));
}

/// Numbers, sizes and addresses that differ between files only where the one-definition rule is broken.
std::vector<std::vector<double>> what_this_file_sees() {
  const auto address = [](auto* function) { return static_cast<double>(reinterpret_cast<std::uintptr_t>(function)); };
  static ThreadExecutor executor(2);
  std::vector<std::vector<double>> all{
      round_trip<EigenBackend<float>>({executor}),
      round_trip<EigenBackend<double>>({}),
      {sizeof(EigenTensor<float>), sizeof(ThreadExecutor), sizeof(PatchPlan), sizeof(DenoiserOptions),
       sizeof(TrainStep<EigenBackend<float>>), alignof(EigenTensor<double>)},
      {address(&EigenBackend<float>::crop)}};
#ifdef LINK_TESTS_WITH_TORCH
  all.push_back(round_trip<TorchBackend>({}));
  all.push_back({sizeof(TorchDevice), sizeof(TrainStep<TorchBackend>), address(&TorchBackend::crop)});
#endif
  return all;
}

}  // namespace
}  // namespace patchdiff
