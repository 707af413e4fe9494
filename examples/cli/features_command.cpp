// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/atomic_file.hpp>

#include "commands.hpp"
#include "data_folder.hpp"
#include "feature_network.hpp"
#include "feature_training.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "settings.hpp"

namespace pd = patchdiff;

namespace {

constexpr const char* component = "features";

struct NetworkSettings {
  std::int64_t epochs = 4;
  std::uint64_t seed = 0;

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("epochs", self.epochs, "times that each training image is seen");
    visit("seed", self.seed, "of weights and order");
  }
};

class Features {
 public:
  explicit Features(CLI::App& command) : command_(&command) {
    const auto take = [](auto& target) { return [&target](auto value) { target = std::move(value); }; };
    add_value<std::string>(command, "--data", "folder of the training and the test images, train-* and t10k-*",
                           take(data_));
    add_value<std::string>(command, "--out", "file to write, for --features of evaluate", take(out_));
    given_.add_to(command, "Training", training_);
    given_.add_to(command, "Machine", execution_);
  }

  void run() {
    require_given(*command_, "--data");
    require_given(*command_, "--out");
    given_.apply();
    if (training_.epochs < 1) {
      throw pd::ConfigError(component, "--epochs", "at least 1", fmt::format("{}", training_.epochs));
    }
    const pd::TorchDevice device = prepare_device(execution_, component);
    const DataFolder folder(data_, component);
    const auto grown = [](std::int64_t side) { return (side + 7) / 8 * 8; };  // as the network halves three times
    const auto [channels, height, width] = folder.read(Split::train).shape();
    const pd::ArrayDataset images = folder.read(Split::train, {grown(height), grown(width)});
    const pd::ArrayDataset test = folder.read(Split::test, {grown(height), grown(width)});
    require_classes(images);

    { const pd::AtomicFile probe(out_, component); }  // refuses what cannot be written before the work
    Progress progress;
    pd::FeatureClassifier classifier = train_features(
        images, {.epochs = training_.epochs, .key = {training_.seed}, .device = device}, [&](double share) {
          progress.show(share, fmt::format("{:3.0f} % of training", 100 * share), "training", share == 1);
        });
    progress.end_line();
    save_feature_network(out_, classifier);
    fmt::print("wrote {}: {} features of images of {}; tells the class of {:.2f} % of the test images\n", out_,
               classifier.dimension(), to_string(classifier.options().image), 100 * accuracy(classifier, test));
  }

 private:
  template <class Source>
  static void require_classes(const Source& images) {
    const auto refuse = [](const std::string& expected, const std::string& got) {
      throw pd::DataError(component, "--data", expected, got);
    };
    if (images.class_count() < 2) refuse("images of at least 2 classes", fmt::format("{}", images.class_count()));
    std::vector<bool> seen(static_cast<std::size_t>(images.class_count()));
    for (std::int64_t index = 0; index < images.size(); ++index) {
      seen[static_cast<std::size_t>(images.label(index))] = true;
    }
    for (std::size_t label = 0; label < seen.size(); ++label) {
      if (!seen[label]) refuse("images of each class", fmt::format("none of class {}", label));
    }
  }

  CLI::App* command_;
  std::string data_, out_;
  NetworkSettings training_{};
  ExecutionSettings execution_{};
  GivenSettings given_;
};

}  // namespace

Command features_command(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand(component, "Trains a small network on a data set's labels, whose features evaluate uses.");
  return {command, [features = std::make_shared<Features>(*command)] { features->run(); }};
}
