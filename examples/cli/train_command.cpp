// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/checkpoint.hpp>
#include <patchdiff/io/checkpoint_folder.hpp>
#include <patchdiff/io/csv_log.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/patch/coord_encoder.hpp>

#include "class_names.hpp"
#include "commands.hpp"
#include "config_file.hpp"
#include "data_folder.hpp"
#include "drawing.hpp"
#include "loss_log.hpp"
#include "loss_picture.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "run_folder.hpp"
#include "setting_text.hpp"
#include "settings.hpp"
#include "stop_signal.hpp"
#include "training_run.hpp"

namespace fs = std::filesystem;
namespace pd = patchdiff;

namespace {

constexpr const char* component = "train";

class Train {
 public:
  explicit Train(CLI::App& command) : command_(&command) {
    const auto take = [](auto& target) { return [&target](auto value) { target = std::move(value); }; };
    add_value<std::string>(command, "--config", "TOML file of options, which others given here replace", take(config_));
    add_value<std::string>(command, "--data", "folder with train-images-idx3-ubyte and its labels, plain or .gz",
                           take(data_));
    add_value<std::string>(command, "--out", "new folder for the model, the loss and samples", take(out_));
    add_value<double>(command, "--minutes", "time to train for", take(minutes_))->default_str("5");
    add_value<std::uint64_t>(command, "--images", "images to train on, instead of --minutes", take(images_));
    command.add_flag("--resume", resume_, "go on with the run in --out from its last checkpoint, or begin it");
    add_value<std::uint64_t>(command, "--checkpoint-every", "steps between checkpoints, the last two of which are kept",
                             take(checkpoint_every_))
        ->default_str("500");
    add_value<std::string>(command, "--from", "model file to start from, with its settings and classes", take(from_));
    add_value<std::vector<std::string>>(
        command, "--class-names", "of class 0, 1, ...; garments for Fashion-MNIST, else numbers", take(class_names_));
    given_.add_to(command, "Training", training_);
    given_of_model_.add_to(command, "Model", network_, {"in_channels", "out_channels", "label_dim", "augment_dim"});
    given_of_model_.add_to(command, "Model", denoiser_);
    given_of_model_.add_to(command, "Model", coords_);
    given_of_model_.add_to(command, "Model", edm_);
    given_of_execution_.add_to(command, "Machine", execution_);
  }

  void run() {
    check_command_line();
    given_of_execution_.apply();
    const pd::TorchDevice device = prepare_device(execution_, component);

    std::optional<Model> start;
    if (!from_.empty()) {
      start = load_model(from_, device);
      training_ = start->record.training;
    }
    given_.apply();
    training_.check();

    const DataFolder folder(data_, component);
    std::string fingerprint;
    pd::ImageShape stored;
    std::int64_t classes = 0;
    {
      const pd::ArrayDataset data = folder.read(Split::train);
      fingerprint = data_fingerprint(data);
      stored = data.shape();
      classes = data.class_count();
    }
    std::vector<std::string> names = default_class_names(fingerprint, classes);
    if (start) {
      require_same_data(start->record, fingerprint, component);
      names = start->record.class_names;
    } else {
      given_of_model_.apply();
      start = Model{new_denoiser(stored, classes, device)};
    }
    if (!class_names_.empty()) names = class_names_;
    check_class_names(names, start->denoiser.label_dim());
    start->record.class_names = names;
    start->record.training = training_;
    start->record.data = fingerprint;

    const pd::ArrayDataset data = folder.read(Split::train, start->denoiser.image().size());
    const TrainingRun training(data, training_, start->denoiser);
    train(training, std::move(*start));
  }

 private:
  void check_command_line() const {
    require_given(*command_, "--data");
    require_given(*command_, "--out");
    if (images_ && minutes_) throw UsageError(component, "--images", "none beside --minutes", setting_text(*images_));
    if (images_ && *images_ < 1) throw pd::ConfigError(component, "--images", "at least 1", setting_text(*images_));
    if (checkpoint_every_ < 1) throw pd::ConfigError(component, "--checkpoint-every", "at least 1", "0");
    if (minutes_ && (!(*minutes_ > 0) || !std::isfinite(*minutes_))) {
      throw pd::ConfigError(component, "--minutes", "a finite value > 0", setting_text(*minutes_));
    }
    if (!from_.empty() && !given_of_model_.names().empty()) {
      throw UsageError(component, given_of_model_.names().front(), "no settings of the model beside --from", "one");
    }
  }

  /// A network of the settings for images of that size, which grow until all three patch sizes suit the network.
  Denoiser new_denoiser(pd::ImageShape stored, std::int64_t classes, pd::TorchDevice device) const {
    pd::SongUNetOptions network = network_;
    const std::size_t levels = std::min<std::size_t>(network.channel_mult.size(), 31);
    const std::int64_t divisor = std::int64_t{2} << levels;  // a quarter of the side, divisible by 2^(levels - 1)
    const auto grown = [&](std::int64_t side) { return (side + divisor - 1) / divisor * divisor; };
    network.image = {grown(stored.height), grown(stored.width)};
    network.in_channels = stored.channels + pd::CoordEncoder<B>(network.image, coords_).channels();
    network.out_channels = stored.channels;
    network.label_dim = classes;
    pd::DenoiserOptions options = denoiser_;
    options.image = {stored.channels, network.image.height, network.image.width};
    options.coords = coords_;
    options.formulation = edm_;
    return {AnyUNet(pd::SongUNet(network, {training_.seed}, device)), options};
  }

  /// What must be the same for a run to go on.
  pd::Checkpoint::Settings settings_of(const Model& start) const {
    pd::Checkpoint::Settings settings{{"from_images", fmt::format("{}", start.record.images)},
                                      {"data", start.record.data},
                                      {"class_names", setting_text(start.record.class_names)}};
    const auto add = [&](std::string_view key, const auto& value, std::string_view) {
      if constexpr (requires { setting_text(value); }) settings[std::string(key)] = setting_text(value);
    };
    pd::describe(start.record.training, add);
    pd::describe(start.denoiser.options(), add);
    pd::describe(start.denoiser.options().coords, add);
    visit_network(start.denoiser.network(), [&](const auto& network) { pd::describe(network.options(), add); });
    return settings;
  }

  /// The checkpoint that a resumed run goes on from, if there is one. Errors: ConfigError for a run of other settings.
  std::optional<pd::Checkpoint> checkpoint_of(const pd::CheckpointFolder& folder,
                                              const pd::Checkpoint::Settings& settings) const {
    if (!resume_) return std::nullopt;
    std::optional<pd::Checkpoint> found =
        folder.latest([](std::string_view message) { fmt::print(stderr, "patchdiff: {}\n", message); });
    if (!found) return found;
    pd::Checkpoint::Settings expected = found->settings();
    expected.erase("total");
    for (const auto& [key, value] : expected) {
      const auto given = settings.find(key);
      const std::string got = given == settings.end() ? "none" : given->second;
      if (got == value) continue;
      throw pd::ConfigError(component, option_name(key), fmt::format("{}, as in the run to resume", value), got);
    }
    return found;
  }

  /// Every setting of this run, for `--config`.
  toml::table resolved(const Model& start) const {
    toml::table table{{"data", data_}, {"checkpoint_every", toml_value(checkpoint_every_)}};
    if (images_) table.insert("images", toml_value(*images_));
    if (!images_) table.insert("minutes", minutes_.value_or(5));
    if (!from_.empty()) table.insert("from", from_);
    if (!start.record.class_names.empty()) table.insert("class_names", toml_value(start.record.class_names));
    toml::table training, model, machine;
    add_to_table(training, start.record.training);
    if (from_.empty()) {
      add_to_table(model, network_, {"in_channels", "out_channels", "label_dim", "augment_dim"});
      add_to_table(model, denoiser_);
      add_to_table(model, coords_);
      add_to_table(model, edm_);
      table.insert("model", model);
    }
    add_to_table(machine, execution_);
    table.insert("training", training);
    table.insert("machine", machine);
    return table;
  }

  void train(const TrainingRun& training, Model start) const {
    const StopSignal stop;
    const RunFolder folder(out_, resume_);
    const pd::Checkpoint::Settings settings = settings_of(start);
    Resuming resuming{.folder = pd::CheckpointFolder(folder.path()), .every = checkpoint_every_, .settings = settings};
    resuming.from = checkpoint_of(resuming.folder, settings);
    if (resume_ && !resuming.from && folder.is_finished()) {
      fmt::print("{} holds a finished run\n", out_);
      return;
    }
    TrainingLength length{.images = images_, .minutes = minutes_.value_or(5)};
    if (resuming.from) {
      const std::string total = resuming.from->settings().at("total");
      if (images_ && setting_text(*images_) != total) {
        throw pd::ConfigError(component, "--images", fmt::format("{}, as in the run to resume", total),
                              setting_text(*images_));
      }
      read_setting(total, length.images.emplace());
      fmt::print("resuming after step {}\n", resuming.from->state().step);
    }
    write_toml(folder / RunFolder::settings, resolved(start));
    cut_loss_log(folder / RunFolder::log, resuming.from ? resuming.from->state().step : 0);
    pd::CsvLog log(folder / RunFolder::log, loss_columns);
    Progress progress;
    TrainingResult result = training(std::move(start.denoiser), length, resuming, log, progress, stop);
    start.record.images += result.images;
    try {
      save_model(folder / RunFolder::model, result.averaged, start.record);
    } catch (const pd::FileError&) {
      if (!result.log_failed) throw;
    }
    if (result.log_failed) std::rethrow_exception(result.log_failed);
    pd::write_png(folder / RunFolder::loss_picture, loss_picture(read_loss_log(folder / RunFolder::log)));
    pd::write_png(folder / RunFolder::samples,
                  draw_samples(result.averaged, all_classes(result.averaged), start.record.sampling));
    if (!result.stopped) resuming.folder.clear();
    fmt::print("wrote {}, {}, {} and {} to {} after {} images\n", RunFolder::model, RunFolder::log,
               RunFolder::loss_picture, RunFolder::samples, out_, result.images);
    if (result.stopped) {
      fmt::print("stopped early; go on with: patchdiff train --config {} --out {} --resume\n",
                 (folder / RunFolder::settings).string(), out_);
    }
  }

  CLI::App* command_;
  std::string config_, data_, out_, from_;
  bool resume_ = false;
  std::uint64_t checkpoint_every_ = 500;
  std::optional<double> minutes_{};
  std::optional<std::uint64_t> images_{};
  std::vector<std::string> class_names_{};
  TrainingSettings training_{};
  pd::SongUNetOptions network_{
      .model_channels = 32, .channel_mult = {1, 1, 2}, .num_blocks = 1, .attn_resolutions = {8}, .dropout = 0};
  pd::DenoiserOptions denoiser_{.precision = __builtin_cpu_supports("avx512bf16") ? pd::Precision::bfloat16
                                                                                  : pd::Precision::float32};
  pd::CoordOptions coords_{};
  pd::EDM edm_{};
  ExecutionSettings execution_{};
  GivenSettings given_, given_of_model_, given_of_execution_;
};

}  // namespace

Command train_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand(component, "Trains a model on patches of a folder of images.");
  return {command, [train = std::make_shared<Train>(*command)] { train->run(); }};
}
