// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/core/share.hpp>
#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/data/data_order.hpp>
#include <patchdiff/io/atomic_file.hpp>
#include <patchdiff/io/settings_json.hpp>
#include <patchdiff/metrics/feature_set.hpp>
#include <patchdiff/parallel/merge_features.hpp>
#include <patchdiff/sampling/named_solver.hpp>

#include "as_stored.hpp"
#include "commands.hpp"
#include "different_files.hpp"
#include "evaluation.hpp"
#include "feature_network.hpp"
#include "image_sampler.hpp"
#include "image_source.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "read_images.hpp"
#include "run_processes.hpp"
#include "setting_text.hpp"
#include "settings.hpp"

namespace pd = patchdiff;

namespace {

constexpr const char* component = "evaluate";

/// How samples are drawn.
const std::array<std::string, 4> of_sampling{"solver", "steps", "guidance", "seed"};

void warn(std::string_view message) { fmt::print(stderr, "patchdiff: {}\n", message); }

/// Labels for samples, one after the other, in the shares of a data set's classes.
std::vector<std::int64_t> labels_in_shares(const pd::AnyDataset& data, std::int64_t count) {
  std::vector<double> shares(static_cast<std::size_t>(data.class_count()), 0);
  for (std::int64_t index = 0; index < data.size(); ++index) {
    shares[static_cast<std::size_t>(data.label(index))] += 1 / static_cast<double>(data.size());
  }
  std::vector<std::int64_t> labels;
  std::vector<double> lacking(shares.size(), 0);  // of each class, beside its share of the labels so far
  for (std::int64_t sample = 0; sample < count; ++sample) {
    for (std::size_t label = 0; label < shares.size(); ++label) lacking[label] += shares[label];
    const auto most =
        std::max_element(lacking.begin(), lacking.end(), [](double one, double other) { return one < other - 1e-9; });
    *most -= 1;
    labels.push_back(most - lacking.begin());
  }
  return labels;
}

class Evaluate {
 public:
  explicit Evaluate(CLI::App& command) : command_(&command) {
    const auto take = [](auto& target) { return [&target](auto value) { target = std::move(value); }; };
    add_value<std::string>(command, "--data", "training images, as train takes them", take(data_));
    add_value<std::string>(command, "--test", "images that others are compared with, as --data", take(test_))
        ->default_str("t10k-* in --data");
    add_value<std::string>(command, "--model", "file that train wrote, whose samples are judged", take(model_));
    add_value<std::string>(command, "--images", "drawn images that are judged, as --data", take(images_));
    add_unreadable(command, unreadable_);
    add_value<std::string>(command, "--out", "file for all figures, JSON", take(out_));
    command.add_flag("--per-class", per_class_, "judge each class apart, too");
    processes_.add_to(command);
    given_.add_to(command, "Evaluation", evaluation_);
    given_.add_to(command, "Features", features_);
    given_.add_to(command, "Machine", execution_);
  }

  void run() {
    require_given(*command_, "--data");
    processes_.run(component, [this](RunProcesses& processes) { run(processes); });
  }

 private:
  void run(RunProcesses& processes) {
    given_.apply();
    evaluation_.check();
    if (model_.empty()) {
      for (const std::string& key : of_sampling) {
        given_.require_none(component, option_name(key), "none without --model");
      }
    }
    require_different_files(component, "--out", out_, "--model", model_);
    require_different_files(component, "--out", out_, "--features", features_.features);
    const pd::TorchDevice device = prepare_device(execution_, component);
    std::optional<Model> model;
    if (!model_.empty()) model = load_model(model_, device);
    const bool guided = model && model->denoiser.label_dim() > 0;
    if (!guided) given_.require_none(component, "--guidance", "none, as the model has no classes");
    std::optional<pd::AtomicFile> out;  // refuses what cannot be written before the work
    if (!out_.empty() && processes.leads()) out.emplace(out_, component);

    const ImageSource source = open_images(data_, Split::train, unreadable_, component);
    const pd::AnyDataset& training = source.images;
    if (model) require_same_data(model->record, source.fingerprint, component);
    const std::optional<ImageSource> test_source = open_test_images(data_, test_, unreadable_, component);
    if (!test_source) {
      throw pd::FileError(component, "--test", "images, as --data has no t10k-images-idx3-ubyte", "none");
    }
    const pd::AnyDataset& test = test_source->images;
    std::optional<ImageSource> drawn;
    if (!images_.empty()) drawn = open_images(images_, Split::train, unreadable_, component, "--images");
    if (processes.leads()) {
      source.tell_skipped();
      test_source->tell_skipped();
      if (drawn) drawn->tell_skipped();
    }
    require_images("test images", test, training.shape(), Evaluation::least);
    require_images("training images", training, training.shape(), evaluation_.count, ", as of --count");
    if (drawn) require_images("drawn images", drawn->images, training.shape(), evaluation_.count, ", as of --count");
    if (model) require_shape("--model", model->denoiser.image(), training.shape());
    if (guided) require_classes(training, model->denoiser.label_dim());
    const std::vector<std::string> names = class_names(model, source.fingerprint, training.class_count());
    const auto classes = static_cast<std::int64_t>(names.size());
    if (classes > 0) require_labels("test images", test.class_count(), classes);
    if (classes > 0 && drawn) require_labels("drawn images", drawn->images.class_count(), classes);

    const FeatureNetwork network(features_, training.shape(), device);
    Progress progress;
    const std::int64_t total = test.size() + evaluation_.count * (1 + (model ? 1 : 0) + (drawn ? 1 : 0));
    std::int64_t done = 0;  // by all processes, which take equal shares
    const auto advance = [&](std::string_view kind, std::int64_t count) {
      if (!processes.leads()) return;
      done = std::min(total, done + count * processes.size());
      progress.show(static_cast<double>(done) / static_cast<double>(total), fmt::format("features of {}", kind),
                    fmt::format("{} of {} images", done, total), done == total);
    };
    const bool labelled = !names.empty();
    pd::ThreadExecutor threads(static_cast<int>(execution_.threads));
    const ImageFeatures reference =
        real_features("test images", test, test.size(), labelled, network, processes, advance);
    std::vector<ImageFeatures> judged{
        real_features("training images", training, evaluation_.count, labelled, network, processes, advance)};
    if (model) judged.push_back(sample_features(*model, training, network, processes, advance));
    if (drawn)
      judged.push_back(
          real_features("drawn images", drawn->images, evaluation_.count, labelled, network, processes, advance));
    progress.end_line();
    if (!processes.leads()) return;

    const Evaluation evaluation(
        reference, {.resamples = evaluation_.bootstrap, .class_names = names, .executor = threads, .log = warn});
    std::vector<Judgement> judgements;
    for (const ImageFeatures& images : judged) judgements.push_back(evaluation.judge(images));
    print(judgements, names, network, test.size(), guided);
    if (out) write(*out, judgements, names, network, test.size(), guided);
  }

  /// There may be a border around what images of training show.
  static void require_shape(std::string_view argument, pd::ImageShape got, pd::ImageShape training) {
    if (got.channels == training.channels && fits(training.size(), got.size())) return;
    throw pd::DataError(component, argument,
                        fmt::format("images of {}, as those of training, or with a border", to_string(training)),
                        to_string(got));
  }

  static void require_images(std::string_view argument, const pd::AnyDataset& images, pd::ImageShape training,
                             std::int64_t count, std::string_view reason = "") {
    require_shape(argument, images.shape(), training);
    if (images.size() >= count) return;
    throw pd::DataError(component, argument, fmt::format("at least {}{}", count, reason),
                        fmt::format("{}", images.size()));
  }

  /// Samples of a model with classes have the labels of the training images.
  static void require_classes(const pd::AnyDataset& training, std::int64_t classes) {
    if (training.class_count() == classes) return;
    throw pd::DataError(component, "--data", fmt::format("images in {} classes, as of the model", classes),
                        fmt::format("{}", training.class_count()));
  }

  static void require_labels(std::string_view argument, std::int64_t got, std::int64_t classes) {
    if (got > 0 && got <= classes) return;
    throw pd::DataError(component, argument, fmt::format("labels of at most {} classes", classes),
                        got == 0 ? "none" : fmt::format("{}", got));
  }

  /// Of the classes that are judged apart.
  std::vector<std::string> class_names(const std::optional<Model>& model, const std::string& fingerprint,
                                       std::int64_t classes) const {
    if (!per_class_) return {};
    if (classes == 0) throw pd::ConfigError(component, "--per-class", "images with labels", "none");
    if (!model) return default_class_names(fingerprint, classes);
    if (model->denoiser.label_dim() != classes) {
      throw pd::ConfigError(component, "--per-class", fmt::format("a model of {} classes", classes),
                            fmt::format("{}", model->denoiser.label_dim()));
    }
    return model->record.class_names;
  }

  /// Features of `count` images that the processes share: `features(first, count)` are those of some of them.
  template <class Features, class Advance>
  static pd::FeatureSet shared_features(std::int64_t count, std::int64_t at_once, const FeatureNetwork& network,
                                        RunProcesses& processes, const Features& features, const Advance& advance) {
    const pd::Share share = pd::share_of(count, processes.rank(), processes.size());
    const std::int64_t begin = static_cast<std::int64_t>(share.first), end = begin + share.count;
    pd::FeatureSet own(network.dimension());
    for (std::int64_t first = begin; first < end; first += at_once) {
      const std::int64_t part = std::min(at_once, end - first);
      own.add(features(first, part));
      advance(part);
    }
    return pd::merge_features(processes, own);
  }

  /// Features of images of a data set, drawn without repetition.
  template <class Advance>
  static ImageFeatures real_features(const std::string& name, const pd::AnyDataset& data, std::int64_t count,
                                     bool labelled, const FeatureNetwork& network, RunProcesses& processes,
                                     const Advance& advance) {
    const pd::DataOrder order({}, static_cast<std::uint64_t>(data.size()));
    ImageFeatures images{.name = name,
                         .features = shared_features(
                             count, images_at_once(data.shape().size()), network, processes,
                             [&](std::int64_t first, std::int64_t part) {
                               return network(read_images(data, indices_of(order, first, part)));
                             },
                             [&](std::int64_t part) { advance(name, part); })};
    if (!labelled) return images;
    for (const std::int64_t index : indices_of(order, 0, count)) images.labels.push_back(data.label(index));
    return images;
  }

  template <class Advance>
  ImageFeatures sample_features(const Model& model, const pd::AnyDataset& training, const FeatureNetwork& network,
                                RunProcesses& processes, const Advance& advance) const {
    std::vector<std::int64_t> labels;
    if (model.denoiser.label_dim() > 0) labels = labels_in_shares(training, evaluation_.count);
    const ImageSampler sampler(model.denoiser,
                               {.solver = evaluation_.solver,
                                .steps = evaluation_.steps,
                                .guidance = evaluation_.guidance,
                                .seed = evaluation_.seed},
                               {}, labels, processes.leads() ? pd::Log(warn) : pd::Log());
    const std::string name = "samples";
    return {.name = name,
            .features = shared_features(
                evaluation_.count, images_at_once(model.denoiser.image().size()), network, processes,
                [&](std::int64_t first, std::int64_t part) {
                  const at::Tensor samples = sampler(first, part);
                  const std::vector<float> stored = as_stored<B::Wide>(samples, model.record.normalization);
                  return network(B::from_host(stored, B::shape(samples), {}));
                },
                [&](std::int64_t part) { advance(name, part); }),
            .labels = labels};
  }

  void print(const std::vector<Judgement>& judgements, const std::vector<std::string>& names,
             const FeatureNetwork& network, std::int64_t reference, bool guided) const {
    fmt::print("{} features of {}, beside {} test images", network.dimension(), network.name(), reference);
    if (!model_.empty()) {
      fmt::print("; samples by {} steps of {}, guidance {}, from seed {}", evaluation_.steps,
                 pd::name_of(evaluation_.solver), guided ? setting_text(evaluation_.guidance) : "none",
                 evaluation_.seed);
    }
    fmt::print("\n{}", table_of(judgements, names));
  }

  void write(pd::AtomicFile& file, const std::vector<Judgement>& judgements, const std::vector<std::string>& names,
             const FeatureNetwork& network, std::int64_t reference, bool guided) const {
    pd::settings_json::Json json{{"features", {{"network", network.name()}, {"dimension", network.dimension()}}},
                                 {"test_images", reference},
                                 {"settings", pd::settings_json::write(evaluation_)}};
    if (!guided) json["settings"].erase("guidance");
    if (model_.empty()) {
      for (const std::string& key : of_sampling) json["settings"].erase(key);
    } else {
      json["model"] = model_;
    }
    if (!images_.empty()) json["images"] = images_;
    json["judged"] = json_of(judgements, names);
    file.write(json.dump(2) + '\n');
    file.commit();
  }

  CLI::App* command_;
  std::string data_, test_, model_, images_, out_;
  Unreadable unreadable_ = Unreadable::stop;
  bool per_class_ = false;
  ProcessOptions processes_;
  EvaluationSettings evaluation_{};
  FeatureSettings features_{};
  ExecutionSettings execution_{};
  GivenSettings given_;
};

}  // namespace

Command evaluate_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      component, "Tells how alike test images are training images, a model's samples or drawn images.");
  return {command, [evaluate = std::make_shared<Evaluate>(*command)] { evaluate->run(); }};
}
