// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/atomic_file.hpp>
#include <patchdiff/io/png.hpp>

#include "class_names.hpp"
#include "commands.hpp"
#include "different_files.hpp"
#include "draw_samples.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "setting_text.hpp"
#include "settings.hpp"
#include "stop_signal.hpp"
#include "window_settings.hpp"

namespace pd = patchdiff;

namespace {

constexpr const char* component = "sample";

/// Why there is no picture: a signal came first.
class Stopped : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Sample {
 public:
  explicit Sample(CLI::App& command) : command_(&command) {
    add_value<std::string>(command, "--model", "file that train wrote", [this](auto value) { model_ = value; });
    add_value<std::string>(command, "--out", "picture to write, a PNG file", [this](auto value) { out_ = value; });
    add_value<std::string>(command, "--npy", "array of the same images to write, an NPY file [N, C, H, W]",
                           [this](auto value) { npy_ = value; });
    add_value<std::vector<std::string>>(command, "--class", "names or numbers of the classes to draw, one per row",
                                        [this](auto value) { classes_ = value; })
        ->default_str("all");
    add_value<std::int64_t>(command, "--preview-every", "steps after which --out shows the images as estimated then",
                            [this](auto value) { preview_every_ = value; })
        ->default_str("0: never");
    given_.add_to(command, "Sampling, by default as the model file says", sampling_);
    given_.add_to(command, "Windows", windows_);
    given_of_execution_.add_to(command, "Machine", execution_);
  }

  void run() {
    require_given(*command_, "--model");
    require_given(*command_, "--out");
    require_different_files(component, "--out", out_, "--model", model_);
    require_different_files(component, "--npy", npy_, "--model", model_);
    require_different_files(component, "--npy", npy_, "--out", out_);
    if (preview_every_ < 0) {
      throw pd::ConfigError(component, "--preview-every", "at least 0", setting_text(preview_every_));
    }
    given_of_execution_.apply();
    const Model model = load_model(model_, prepare_device(execution_, component));
    sampling_ = model.record.sampling;
    given_.apply();
    sampling_.check();
    windows_.check();
    const bool guided = model.denoiser.label_dim() > 0;
    if (!guided) given_.require_none(component, "--guidance", "none, as the model has no classes");
    const std::vector<std::int64_t> classes =
        classes_.empty() ? all_classes(model.denoiser.label_dim()) : classes_of(classes_, model.record.class_names);

    // Refuses what cannot be written before the work.
    for (const std::string& file : {out_, npy_}) {
      if (!file.empty()) const pd::AtomicFile probe(file, component);
    }
    const DrawingOptions options{
        .classes = classes, .sampling = sampling_, .windows = windows_, .normalization = model.record.normalization};
    require_picture(planned(model.denoiser.image(), options));
    const Drawn drawn = draw(model, options);
    if (!npy_.empty()) write_array(npy_, drawn);
    pd::write_png(out_, picture_of(drawn));
    fmt::print("wrote {}: {} images, {} steps of {}, guidance {}, seed {}\n", out_, drawn.shape[0], sampling_.steps,
               pd::name_of(sampling_.solver), guided ? setting_text(sampling_.guidance) : "none", sampling_.seed);
    for (std::size_t row = 0; row < classes.size(); ++row) {
      fmt::print("row {:2}  {}\n", row + 1, model.record.class_names[static_cast<std::size_t>(classes[row])]);
    }
  }

 private:
  /// Draws with a progress bar and, if they are wanted, previews. Errors: Stopped.
  Drawn draw(const Model& model, const DrawingOptions& options) const {
    const StopSignal stop;
    Progress progress;
    std::int64_t previewed = 0;  // the last step of which `out_` is the estimate
    const auto start = std::chrono::steady_clock::now();
    const auto watch = [&](const DrawingProgress& now) {
      const bool last = now.step == now.num_steps;
      const double share = static_cast<double>(now.step) / static_cast<double>(now.num_steps);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      progress.show(share, fmt::format("step {} of {}", now.step, now.num_steps),
                    fmt::format("sigma {:.4g}  {} left", now.sigma, duration_text(seconds * (1 / share - 1))), last);
      if (last) return;
      if (preview_every_ > 0 && now.step % preview_every_ == 0) {
        pd::write_png(out_, now.estimate());
        previewed = now.step;
      }
      if (!stop.requested()) return;
      progress.end_line();
      throw Stopped(fmt::format("{}: stopped after step {} of {}; {}", component, now.step, now.num_steps,
                                previewed > 0 ? fmt::format("{} is the estimate of step {}", out_, previewed)
                                              : fmt::format("{} is not written", out_)));
    };
    const auto log = [](std::string_view message) { fmt::print(stderr, "patchdiff: {}\n", message); };
    return draw_samples(model.denoiser, options, log, watch);
  }

  CLI::App* command_;
  std::string model_, out_, npy_;
  std::int64_t preview_every_ = 0;
  std::vector<std::string> classes_{};
  SamplingSettings sampling_{};
  WindowSettings windows_{};
  ExecutionSettings execution_{};
  GivenSettings given_, given_of_execution_;
};

}  // namespace

Command sample_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand(component, "Draws whole images by a model.");
  return {command, [sample = std::make_shared<Sample>(*command)] { sample->run(); }};
}
