// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/data/padded_dataset.hpp>
#include <patchdiff/io/atomic_file.hpp>

#include "commands.hpp"
#include "feature_classifier_file.hpp"
#include "feature_training.hpp"
#include "image_source.hpp"
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
    add_value<std::string>(command, "--data", "training images with labels, as train takes them", take(data_));
    add_value<std::string>(command, "--test", "images whose classes the network is tried on, as --data", take(test_))
        ->default_str("t10k-* in --data");
    add_unreadable(command, unreadable_);
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
    const ImageSource training = open_images(data_, Split::train, unreadable_, component);
    training.tell_skipped();
    require_classes(training.images);
    const auto [channels, height, width] = training.images.shape();
    const auto grown = [](std::int64_t side) { return (side + 7) / 8 * 8; };  // as the network halves three times
    const pd::ImageSize size{grown(height), grown(width)};
    const std::optional<ImageSource> test = open_test_images(data_, test_, unreadable_, component);
    if (test) test->tell_skipped();
    if (test) require_same(test->images, training.images);

    { const pd::AtomicFile probe(out_, component); }  // refuses what cannot be written before the work
    Progress progress;
    pd::FeatureClassifier classifier = train_features(
        pd::PaddedDataset(training.images, size),
        {.epochs = training_.epochs, .key = {training_.seed}, .device = device}, [&](double share) {
          progress.show(share, fmt::format("{:3.0f} % of training", 100 * share), "training", share == 1);
        });
    progress.end_line();
    save_feature_classifier(out_, classifier);
    fmt::print("wrote {}: {} features of images of {}\n", out_, classifier.dimension(),
               to_string(classifier.options().image));
    if (!test) return;
    fmt::print("tells the class of {:.2f} % of the test images\n",
               100 * accuracy(classifier, pd::PaddedDataset(test->images, size)));
  }

 private:
  static void require_same(const pd::AnyDataset& test, const pd::AnyDataset& training) {
    const auto text = [](const pd::AnyDataset& images) {
      return fmt::format("images of {} in {} classes", to_string(images.shape()), images.class_count());
    };
    if (test.shape() == training.shape() && test.class_count() > 0 && test.class_count() <= training.class_count())
      return;
    throw pd::DataError(component, "--test", text(training), text(test));
  }

  static void require_classes(const pd::AnyDataset& images) {
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
  std::string data_, test_, out_;
  Unreadable unreadable_ = Unreadable::stop;
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
