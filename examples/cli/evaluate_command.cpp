// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>

#include "commands.hpp"
#include "data_folder.hpp"
#include "fashion_judge.hpp"
#include "image_source.hpp"
#include "model.hpp"
#include "settings.hpp"

namespace pd = patchdiff;

namespace {

constexpr const char* component = "evaluate";

class Evaluate {
 public:
  explicit Evaluate(CLI::App& command) : command_(&command) {
    add_value<std::string>(command, "--model", "file that train wrote", [this](auto value) { model_ = value; });
    add_value<std::string>(command, "--data", "folder of the training and the test images, train-* and t10k-*",
                           [this](auto value) { data_ = value; });
    given_.add_to(command, "Evaluation", evaluation_);
    given_.add_to(command, "Machine", execution_);
  }

  void run() {
    require_given(*command_, "--model");
    require_given(*command_, "--data");
    given_.apply();
    evaluation_.check();
    Model model = load_model(model_, prepare_device(execution_, component));
    const DataFolder folder(data_, component);
    require_same_data(model.record, open_images(data_, Split::train, Unreadable::stop, component).fingerprint,
                      component);
    const pd::ImageSize size = model.denoiser.image().size();
    const pd::ArrayDataset images = folder.read(Split::train, size);
    const FashionJudge judge(
        folder.read(Split::test, size),
        {.count = evaluation_.count, .solver = {evaluation_.solver}, .num_steps = evaluation_.steps});
    const double real = judge.real(images);
    const double trained = judge.samples(pd::AnyDenoiser<B>(std::move(model.denoiser)));
    fmt::print("Fréchet distances of {} images to the test images, samples in {} steps of {}:\n", evaluation_.count,
               evaluation_.steps, pd::name_of(evaluation_.solver));
    fmt::print("FD real images {:8.2f}\nFD trained     {:8.2f}\n", real, trained);
  }

 private:
  CLI::App* command_;
  std::string model_, data_;
  EvaluationSettings evaluation_{};
  ExecutionSettings execution_{};
  GivenSettings given_;
};

}  // namespace

Command evaluate_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      component, "Tells how far a model's images are from test images, in the feature space for Fashion-MNIST.");
  return {command, [evaluate = std::make_shared<Evaluate>(*command)] { evaluate->run(); }};
}
