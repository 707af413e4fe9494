// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/atomic_file.hpp>
#include <patchdiff/io/png.hpp>

#include "class_names.hpp"
#include "commands.hpp"
#include "drawing.hpp"
#include "model.hpp"
#include "settings.hpp"

namespace pd = patchdiff;

namespace {

constexpr const char* component = "sample";

class Sample {
 public:
  explicit Sample(CLI::App& command) : command_(&command) {
    add_value<std::string>(command, "--model", "file that train wrote", [this](auto value) { model_ = value; });
    add_value<std::string>(command, "--out", "picture to write, a PNG file", [this](auto value) { out_ = value; });
    add_value<std::vector<std::string>>(command, "--class", "names or numbers of the classes to draw, one per row",
                                        [this](auto value) { classes_ = value; })
        ->default_str("all");
    given_.add_to(command, "Sampling, by default as the model file says", sampling_);
    given_of_execution_.add_to(command, "Machine", execution_);
  }

  void run() {
    require_given(*command_, "--model");
    require_given(*command_, "--out");
    given_of_execution_.apply();
    const Model model = load_model(model_, prepare_device(execution_, component));
    sampling_ = model.record.sampling;
    given_.apply();
    sampling_.check();
    if (model.denoiser.label_dim() == 0 && !classes_.empty()) {
      throw pd::ConfigError(component, "--class", "none, as the model has no classes", "some");
    }
    const std::vector<std::int64_t> classes =
        classes_.empty() ? all_classes(model.denoiser) : classes_of(classes_, model.record.class_names);

    { const pd::AtomicFile probe(out_, component); }  // refuses what cannot be written before the work
    pd::write_png(out_, draw_samples(model.denoiser, classes, sampling_));
    fmt::print("wrote {}: {} images, {} steps, guidance {}, seed {}\n", out_,
               sampling_.count * std::max<std::int64_t>(1, static_cast<std::int64_t>(classes.size())), sampling_.steps,
               sampling_.guidance, sampling_.seed);
    for (std::size_t row = 0; row < classes.size(); ++row) {
      fmt::print("row {:2}  {}\n", row + 1, model.record.class_names[static_cast<std::size_t>(classes[row])]);
    }
  }

 private:
  CLI::App* command_;
  std::string model_, out_;
  std::vector<std::string> classes_{};
  SamplingSettings sampling_{};
  ExecutionSettings execution_{};
  GivenSettings given_, given_of_execution_;
};

}  // namespace

Command sample_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand(component, "Draws whole images by a model.");
  return {command, [sample = std::make_shared<Sample>(*command)] { sample->run(); }};
}
