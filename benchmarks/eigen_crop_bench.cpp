// SPDX-License-Identifier: Apache-2.0
// Places, crop and coordinates on the Eigen backend beside a copy of as many bytes on one thread, in turns. Prints
// medians.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/eigen.hpp>

#include "measure.hpp"

namespace {

namespace pd = patchdiff;
using B = pd::EigenBackend<float>;

struct Settings {
  std::int64_t resolution = 64;
  std::int64_t channels = 3;
  std::vector<std::int64_t> patches{64, 32, 16};
  std::int64_t batch = 128;
  std::int64_t repeats = 200;
  int threads = 1;
};

void measure(const Settings& settings, std::int64_t patch, B::Device device) {
  const pd::ImageSize image{settings.resolution, settings.resolution};
  const pd::ImageBatch<B> batch{.images =
                                    B::zeros({settings.batch, settings.channels, image.height, image.width}, device)};
  const pd::PatchSampler<B> sampler;
  const pd::CoordEncoder<B> encoder(image);
  const auto bytes = static_cast<std::size_t>(settings.batch * (settings.channels + 2) * patch * patch) * sizeof(float);
  std::vector<char> from(bytes, 1), to(bytes, 2);
  std::vector<double> crop, copy;
  std::int64_t elements = 0;
  for (std::int64_t turn = 0; turn < settings.repeats; ++turn) {
    const pd::PatchPlan plan{.patch = {patch, patch}, .step = static_cast<std::uint64_t>(turn), .key = {1}};
    crop.push_back(seconds([&] {
      const auto patches = sampler(batch, sampler.places(plan, image, settings.batch));
      elements += patches.images.size() + encoder(patches.places, device).size();
    }));
    copy.push_back(seconds([&] { std::memcpy(to.data(), from.data(), bytes); }));
    elements += to[bytes / 2];
  }
  const double crop_time = spread_of(crop).median, copy_time = spread_of(copy).median;
  fmt::print("patch {:4}: crop {:8.1f} us, copy {:8.1f} us, crop {:.2f} copies ({} numbers)\n", patch, 1e6 * crop_time,
             1e6 * copy_time, crop_time / copy_time, elements);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Times the crop and its coordinates on the Eigen backend beside a copy of the same bytes.",
               "eigen_crop_bench"};
  app.add_option("--resolution", settings.resolution, "side of the full image")->capture_default_str();
  app.add_option("--channels", settings.channels, "channels of the image")->capture_default_str();
  app.add_option("--patches", settings.patches, "sides of patches")->delimiter(',')->capture_default_str();
  app.add_option("--batch", settings.batch, "images")->capture_default_str();
  app.add_option("--repeats", settings.repeats, "turns")->capture_default_str();
  add_threads(app, settings.threads);
  return run_benchmark(app, argc, argv, [&] {
    pd::ThreadExecutor executor(settings.threads);
    for (const std::int64_t patch : settings.patches) measure(settings, patch, {executor});
  });
}
