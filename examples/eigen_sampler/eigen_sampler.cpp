// SPDX-License-Identifier: Apache-2.0
// Draws images by a model that `patchdiff train` wrote, without LibTorch: a grid as PNG, an array as NPY, or both. It
// takes the same settings as `patchdiff sample` and gives the same images for the same seeds, to rounding.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/nn/eigen/eigen_song_unet.hpp>

#include "cli/class_names.hpp"
#include "cli/command_line.hpp"
#include "cli/different_files.hpp"
#include "cli/drawing.hpp"
#include "cli/read_record.hpp"
#include "cli/settings.hpp"
#include "cli/window_settings.hpp"

namespace {

namespace pd = patchdiff;

struct Settings {
  std::string model, out, npy;
  std::vector<std::string> classes;
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  SamplingSettings sampling;
  WindowSettings windows;
  GivenSettings given;
};

void add_options(CLI::App& app, Settings& settings) {
  app.add_option("--model", settings.model, "file that patchdiff train wrote")->required();
  app.add_option("--out", settings.out, "grid of the images, a PNG file");
  app.add_option("--npy", settings.npy, "array of the images, an NPY file [N, C, H, W]");
  app.add_option("--class", settings.classes, "names or numbers of the classes, one per row; all by default")
      ->delimiter(',');
  app.add_option("--threads", settings.threads, "threads to compute with")->capture_default_str();
  settings.given.add_to(app, "Sampling, by default as the model file says", settings.sampling);
  settings.given.add_to(app, "Windows", settings.windows);
}

void run(Settings& settings) {
  if (settings.out.empty() && settings.npy.empty()) {
    throw pd::ConfigError("eigen_sampler", "--out or --npy", "a file to write", "none");
  }
  require_different_files("eigen_sampler", "--out", settings.out, "--model", settings.model);
  require_different_files("eigen_sampler", "--npy", settings.npy, "--model", settings.model);
  require_different_files("eigen_sampler", "--npy", settings.npy, "--out", settings.out);
  pd::ThreadExecutor pool(settings.threads);
  const pd::SafetensorsReader file{std::filesystem::path(settings.model)};
  // Behind one type, so that samplers are compiled once.
  const pd::AnyDenoiser<pd::EigenBackend<float>> model(
      pd::model_file::load<pd::EigenSongUNet<float>>(file, settings.model, {pool}));
  const ModelRecord record = read_record(file, settings.model, model.label_dim());
  settings.sampling = record.sampling;
  settings.given.apply();
  settings.sampling.check();
  settings.windows.check();
  if (model.label_dim() == 0) {
    settings.given.require_none("eigen_sampler", "--guidance", "none, as the model has no classes");
  }
  const std::vector<std::int64_t> classes =
      settings.classes.empty() ? all_classes(model.label_dim()) : classes_of(settings.classes, record.class_names);

  const DrawingOptions options{.classes = classes,
                               .sampling = settings.sampling,
                               .windows = settings.windows,
                               .normalization = record.normalization};
  if (!settings.out.empty()) require_picture(planned(model.image(), options));
  const auto log = [](std::string_view message) { fmt::print(stderr, "eigen_sampler: {}\n", message); };
  const Drawn drawn = Drawing(model, options, log).draw();
  if (!settings.npy.empty()) write_array(settings.npy, drawn);
  if (!settings.out.empty()) pd::write_png(settings.out, picture_of(drawn));
}

int refuse_memory() {
  fmt::print(stderr, "eigen_sampler: memory: expected enough for the model and its images, got none\n");
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Draws images by a trained model, without LibTorch.", "eigen_sampler"};
  add_options(app, settings);
  try {
    app.parse(argc, argv);
    run(settings);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::bad_alloc&) {
    return refuse_memory();
  } catch (const std::length_error&) {  // more than could ever be
    return refuse_memory();
  } catch (const std::exception& error) {
    fmt::print(stderr, "eigen_sampler: {}\n", error.what());
    return 1;
  }
}
