// SPDX-License-Identifier: Apache-2.0
// What patch training gains: models of one network and optimiser that train for the same processor time on the same
// data by different schedules of patch sizes, in turns, and how good their samples are as time passes. The arms come
// from a file; patch_training/plot.py draws what is measured. Prints a line per point and, with --json, writes every
// figure.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/data/dataset.hpp>
#include <patchdiff/data/image_folder.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/io/checkpoint.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/io/settings_json.hpp>
#include <patchdiff/torch.hpp>
#include <patchdiff/training/training_cost.hpp>

#include "fashion_features.hpp"
#include "feature_classifier_file.hpp"
#include "halves_correlation.hpp"
#include "measure.hpp"
#include "sample_judge.hpp"
#include "shared/fashion_mnist.hpp"
#include "unplaced_network.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;

enum class Kind : std::uint8_t { stochastic, progressive };

constexpr std::array<pd::NamedValue<Kind>, 2> value_names(Kind) noexcept {
  return {{{Kind::stochastic, "stochastic"}, {Kind::progressive, "progressive"}}};
}

enum class StepImages : std::uint8_t { published, equal };

constexpr std::array<pd::NamedValue<StepImages>, 2> value_names(StepImages) noexcept {
  return {{{StepImages::published, "published"}, {StepImages::equal, "equal"}}};
}

/// What may differ between two models.
struct ArmSettings {
  std::string name;
  Kind schedule = Kind::stochastic;
  double full_image_probability = 0.5;  // 1: training on full images
  std::vector<double> probabilities{};  // of patches of R, R/2 and R/4, instead
  bool coordinates = true;
  pd::Reduction reduction = pd::Reduction::sum;
  double learning_rate = 2e-3;
  std::int64_t batch = 32;
  StepImages step_images = StepImages::published;
  double minutes = 15;

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("name", self.name, "of the arm");
    visit("schedule", self.schedule, "stochastic or progressive");
    visit("full_image_probability", self.full_image_probability, "p of the published mixture of R, R/2 and R/4");
    visit("probabilities", self.probabilities, "of R, R/2 and R/4, instead of the published mixture");
    visit("coordinates", self.coordinates, "whether the network is told where a patch lies");
    visit("reduction", self.reduction, "of a sample's pixels: sum or mean");
    visit("learning_rate", self.learning_rate, "after a rise over 100 steps");
    visit("batch", self.batch, "images of a full-size step");
    visit("step_images", self.step_images, "more images a step of smaller patches, as published, or equally many");
    visit("minutes", self.minutes, "processor time to train for, divided by the threads");
  }
};

struct Settings {
  fs::path arms;
  fs::path data = fashion_mnist_folder;
  std::string features;
  std::int64_t images = 60'000;
  std::int64_t model_channels = 32;
  std::vector<std::int64_t> channel_mult{1, 1, 2};
  std::uint64_t seed = 1;
  std::vector<double> points{1, 2, 3, 4, 5, 6, 7.5, 9, 10.5, 12, 13.5, 15};
  double turn = 30;
  std::int64_t samples = 1000, num_steps = 9;
  pd::Precision precision = pd::Precision::bfloat16;
  int threads = 1;
  std::string json, pictures, checkpoints;
};

/// The processor time of all threads, in the form of a standard clock.
struct ProcessorClock {
  using duration = std::chrono::duration<double>;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<ProcessorClock>;
  static constexpr bool is_steady = true;
  static time_point now() { return time_point(duration(processor_seconds())); }
};

/// A model in training.
class Arm {
 public:
  Arm(const ArmSettings& arm, const Settings& settings, const pd::AnyDataset& images)
      : settings_(arm),
        threads_(settings.threads),
        denoiser_(Network(network(settings, images), arm.coordinates),
                  {.image = images.shape(), .precision = settings.precision}),
        loader_(images, {}, {.seed = settings.seed}),
        step_(options()),
        ema_(denoiser_),
        state_{.seed = settings.seed} {
    optimizer_.prepare(denoiser_);
    if (arm.schedule == Kind::progressive) plan_for(images_in_all());
  }

  const ArmSettings& settings() const { return settings_; }
  double minutes() const { return seconds_ / 60; }

  /// Trains until it has trained for so many minutes, but at most for a turn.
  void train(double until_minutes, double turn_seconds) {
    const double end = std::min(60 * until_minutes, seconds_ + turn_seconds), before = seconds_;
    const double start = processor_seconds();
    while (seconds_ < end) {
      optimizer_.set_learning_rate(settings_.learning_rate * std::min(1.0, static_cast<double>(state_.step + 1) / 100));
      const pd::PatchPlan plan = step_.plan(state_);
      step_(denoiser_, optimizer_, loader_.take(plan), plan, state_);
      ema_.update(denoiser_, state_);
      seconds_ = before + (processor_seconds() - start) / threads_;
    }
  }

  pd::AnyDenoiser<B> averaged() const { return pd::AnyDenoiser<B>(ema_.apply_to(denoiser_.clone())); }

  void save(const fs::path& path) {
    pd::Checkpoint::save(path, parts(), state_,
                         {{"seconds", fmt::format("{}", seconds_)}, {"images_in_all", fmt::format("{}", planned_)}});
  }

  void restore(const fs::path& path) {
    const pd::Checkpoint checkpoint(path);
    checkpoint.restore(parts());
    state_ = checkpoint.state();
    seconds_ = std::stod(checkpoint.settings().at("seconds"));
    if (settings_.schedule == Kind::progressive) plan_for(std::stoull(checkpoint.settings().at("images_in_all")));
  }

  Json progress() const {
    return {{"arm", settings_.name}, {"minutes", minutes()}, {"steps", state_.step}, {"images", state_.images}};
  }

 private:
  using Network = UnplacedNetwork<pd::SongUNet>;

  static pd::SongUNet network(const Settings& settings, const pd::AnyDataset& images) {
    const auto [channels, height, width] = images.shape();
    return pd::SongUNet({.image = {height, width},
                         .in_channels = channels + 2,
                         .out_channels = channels,
                         .label_dim = images.class_count(),
                         .model_channels = settings.model_channels,
                         .channel_mult = settings.channel_mult,
                         .num_blocks = 1,
                         .attn_resolutions = {height >> (settings.channel_mult.size() - 1)},
                         .dropout = 0},
                        {settings.seed});
  }

  pd::TrainStepOptions options(std::uint64_t images_in_all = 1) const {
    const auto [height, width] = denoiser_.image().size();
    pd::PatchSizes sizes{.image = {height, width},
                         .sizes = {{height, width}, {height / 2, width / 2}, {height / 4, width / 4}},
                         .probabilities = settings_.probabilities,
                         .multiplier = settings_.step_images == StepImages::equal ? pd::MultiplierRule::constant(1)
                                                                                  : pd::MultiplierRule::published(),
                         .size_divisor = denoiser_.network().size_divisor()};
    if (sizes.probabilities.empty()) {
      const double p = settings_.full_image_probability;
      sizes.probabilities = {p, 3 * (1 - p) / 5, 2 * (1 - p) / 5};
    }
    return {.schedule = settings_.schedule == Kind::progressive
                            ? pd::PatchSizeSchedule::progressive_of(sizes, images_in_all)
                            : pd::PatchSizeSchedule::stochastic_of(sizes),
            .batch = settings_.batch,
            .loss = {.sigma = pd::SigmaDistribution::log_normal(-0.6, 1.2), .reduction = settings_.reduction}};
  }

  void plan_for(std::uint64_t images) {
    planned_ = images;
    step_ = pd::TrainStep<B>(options(images));
  }

  pd::CheckpointParts<B> parts() {
    pd::CheckpointParts<B> parts;
    return parts.add("model", denoiser_).add("optimizer", optimizer_).add("ema", ema_);
  }

  std::uint64_t images_in_all() {
    const pd::TrainStepOptions options = this->options();
    const pd::TrainingCost cost(options.schedule,
                                pd::measured_seconds_per_image<ProcessorClock>(denoiser_, loader_, options));
    return cost.images_in(60 * settings_.minutes * threads_);
  }

  ArmSettings settings_;
  int threads_;
  pd::DenoiserWrapper<Network> denoiser_;
  pd::Loader<B, pd::AnyDataset> loader_;
  pd::TrainStep<B> step_;
  pd::Adam<B> optimizer_{{.beta2 = 0.99}};
  pd::EMA<B> ema_;
  pd::TrainState state_;
  std::uint64_t planned_ = 1;  // images of a progressive schedule
  double seconds_ = 0;
};

std::vector<ArmSettings> read_arms(const fs::path& path) {
  const Json arms = Json::parse(std::ifstream(path), nullptr, /*allow_exceptions=*/false);
  if (!arms.is_array() || arms.empty()) {
    throw pd::DataError("patch_training_bench", path.string(), "a JSON array of arms", "other text or no file");
  }
  std::vector<ArmSettings> read;
  for (const Json& arm : arms) {
    pd::settings_json::read(arm, read.emplace_back(), path.string(), pd::settings_json::Keys::some);
  }
  return read;
}

/// The first images of a data set, decoded.
template <pd::LabelledDataset Source>
pd::AnyDataset first(const Source& images, std::int64_t count) {
  pd::LabelledImages kept{.shape = images.shape(), .class_count = images.class_count()};
  std::vector<float> values(static_cast<std::size_t>(value_count(kept.shape)));
  for (std::int64_t index = 0; index < std::min(count, images.size()); ++index) {
    images.read(index, values);
    for (const float value : values)
      kept.pixels.push_back(static_cast<std::uint8_t>(std::lround(127.5F * (value + 1))));
    kept.labels.push_back(images.label(index));
  }
  return pd::AnyDataset(pd::ArrayDataset(std::move(kept)));
}

/// Fashion-MNIST's images of a split, or those of a folder DATA/SPLIT with labels.
pd::AnyDataset read(const fs::path& data, const std::string& split, std::int64_t count) {
  const fs::path folder = data / (split == "t10k" ? "test" : split);
  if (fs::is_directory(folder)) {
    return first(pd::ImageFolder(folder, {.labels = folder / "dataset.json"}), count);
  }
  return first(fashion_mnist(data, split), count);
}

/// How good an arm's samples are now.
Json judged(const Arm& arm, const SampleJudge& judge, const Settings& settings) {
  const at::Tensor samples = judge.draw(arm.averaged());
  Json point = arm.progress();
  point["frechet_distance"] = judge.distance(samples);
  point["halves_correlation"] = halves_correlation(samples);
  fmt::print("{:24} {:6.2f} min  {:6} steps  {:8} images  Fréchet distance {:7.2f}  correlation of halves {:.3f}\n",
             arm.settings().name, arm.minutes(), point["steps"].get<std::uint64_t>(),
             point["images"].get<std::uint64_t>(), point["frechet_distance"].get<double>(),
             point["halves_correlation"].get<double>());
  std::fflush(stdout);
  if (!settings.pictures.empty() && arm.minutes() >= arm.settings().minutes) {
    const at::Tensor shown = samples.slice(0, 0, std::min<std::int64_t>(40, samples.size(0)));
    pd::write_png(fs::path(settings.pictures) / (arm.settings().name + ".png"),
                  pd::ImageGrid({.columns = 10, .scale = 2})(B::to_host(shown), B::shape(shown)));
  }
  return point;
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  if (!settings.pictures.empty()) fs::create_directories(settings.pictures);  // not after minutes of training
  const std::vector<ArmSettings> wanted = read_arms(settings.arms);
  const pd::AnyDataset train = read(settings.data, "train", settings.images),
                       test = read(settings.data, "t10k", std::numeric_limits<std::int64_t>::max());
  const SampleJudge judge(
      settings.features.empty() ? fashion_features() : load_feature_classifier(settings.features), test,
      {.count = settings.samples, .solver = {pd::SolverName::dpmpp_2m}, .num_steps = settings.num_steps});
  std::vector<std::unique_ptr<Arm>> arms;
  Json described = Json::array();
  for (const ArmSettings& arm : wanted) {
    arms.push_back(std::make_unique<Arm>(arm, settings, train));
    described.push_back(pd::settings_json::write(arm));
  }
  const auto checkpoint_of = [&](const Arm& arm) {
    return fs::path(settings.checkpoints) / (arm.settings().name + ".safetensors");
  };
  Json results = Json::array();
  if (!settings.checkpoints.empty()) {
    fs::create_directories(settings.checkpoints);
    const Json before = Json::parse(std::ifstream(settings.json), nullptr, /*allow_exceptions=*/false);
    for (const auto& arm : arms) {
      if (!fs::exists(checkpoint_of(*arm))) continue;
      if (!before.is_object()) {
        throw pd::DataError("patch_training_bench", settings.json, "the figures of the run so far", "none");
      }
      arm->restore(checkpoint_of(*arm));
      for (const Json& point : before.at("points")) {
        if (point.at("arm") == arm->settings().name && point.at("minutes") <= arm->minutes()) results.push_back(point);
      }
    }
  }
  const double real_distance = judge.real(train), real_correlation = halves_correlation(test, settings.samples);
  const auto figures = [&] {
    return Json{{"benchmark", "patch_training"},
                {"libtorch", TORCH_VERSION},
                {"threads", settings.threads},
                {"precision", pd::name_of(settings.precision)},
                {"training_images", train.size()},
                {"model_channels", settings.model_channels},
                {"channel_mult", settings.channel_mult},
                {"seed", settings.seed},
                {"samples", settings.samples},
                {"num_steps", settings.num_steps},
                {"real_frechet_distance", real_distance},
                {"real_halves_correlation", real_correlation},
                {"arms", described},
                {"points", results}};
  };
  const auto keep = [&] {
    write_figures(settings.json, "patch_training_bench", figures());
    if (settings.checkpoints.empty()) return;
    for (const auto& arm : arms) arm->save(checkpoint_of(*arm));
  };
  for (double point : settings.points) {
    bool all_there = false;
    while (!all_there) {  // in turns, so that whatever else the machine does meets all arms
      all_there = true;
      for (const auto& arm : arms) {
        const double until = std::min(point, arm->settings().minutes);
        if (arm->minutes() >= until) continue;
        arm->train(until, settings.turn);
        if (arm->minutes() < until) {
          all_there = false;
        } else {
          results.push_back(judged(*arm, judge, settings));
          keep();
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains models by several schedules of patch sizes, in turns, and judges their samples over time.",
               "patch_training_bench"};
  app.add_option("arms", settings.arms, "JSON file of what is compared")->required();
  app.add_option("--data", settings.data,
                 "Fashion-MNIST's four IDX files, or folders train and test of labelled pictures");
  app.add_option("--features", settings.features,
                 "file of patchdiff features; without, the features for Fashion-MNIST");
  app.add_option("--images", settings.images, "training images: the first ones");
  app.add_option("--model-channels", settings.model_channels, "width of the first level");
  app.add_option("--channel-mult", settings.channel_mult, "width of each level")->delimiter(',');
  app.add_option("--seed", settings.seed, "of weights, data order and noise");
  app.add_option("--points", settings.points, "minutes of processor time, divided by the threads, to judge samples at")
      ->delimiter(',');
  app.add_option("--turn", settings.turn, "seconds of it that an arm trains for before the next one's turn")
      ->check(CLI::PositiveNumber);
  app.add_option("--samples", settings.samples, "samples of each judgement")->check(CLI::Range(2, 50000));
  app.add_option("--num-steps", settings.num_steps, "of DPM-Solver++(2M), which draws them")
      ->check(CLI::PositiveNumber);
  app.add_option("--pictures", settings.pictures, "folder for samples of each arm at its end");
  CLI::Option* json = app.add_option("--json", settings.json, "file for the figures");
  app.add_option("--checkpoints", settings.checkpoints,
                 "folder that keeps the run at each judgement; with one that has a run, that goes on")
      ->needs(json);
  add_dtype(app, settings.precision);
  add_threads(app, settings.threads);
  return run_program(app, argc, argv, [&] { run(settings); });
}
