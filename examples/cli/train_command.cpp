// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
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
#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/data/normalized_dataset.hpp>
#include <patchdiff/data/padded_dataset.hpp>
#include <patchdiff/io/atomic_file.hpp>
#include <patchdiff/io/checkpoint.hpp>
#include <patchdiff/io/checkpoint_folder.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/parallel/gather.hpp>

#include "class_names.hpp"
#include "commands.hpp"
#include "config_file.hpp"
#include "draw_samples.hpp"
#include "image_source.hpp"
#include "loss_log.hpp"
#include "loss_picture.hpp"
#include "model.hpp"
#include "new_model.hpp"
#include "run_folder.hpp"
#include "run_logs.hpp"
#include "run_processes.hpp"
#include "setting_text.hpp"
#include "settings.hpp"
#include "stop_signal.hpp"
#include "training_run.hpp"

namespace fs = std::filesystem;
namespace pd = patchdiff;

namespace {

constexpr const char* component = "train";

/// The longest side of what is drawn while and after a run trains.
constexpr std::int64_t longest_drawn_side = 256;

/// The middle of a model's images where they are larger than that, in sides that the network takes.
std::vector<std::int64_t> drawn_window(const Denoiser& denoiser) {
  const auto [channels, height, width] = denoiser.image();
  const std::int64_t divisor = denoiser.network().size_divisor();
  const auto side = [&](std::int64_t whole) {
    return whole <= longest_drawn_side ? whole : std::max(divisor, longest_drawn_side / divisor * divisor);
  };
  return {(height - side(height)) / 2, (width - side(width)) / 2, side(height), side(width)};
}

/// A setting of a run; "none" where it has no such one.
std::string text_of(const pd::Checkpoint::Settings& settings, const std::string& key) {
  const auto found = settings.find(key);
  return found == settings.end() ? "none" : found->second;
}

/// Errors: ConfigError where an option, or what follows from some, is not as the run that is resumed had it.
void require_as_begun(const std::string& option, const std::string& begun, const std::string& given) {
  if (given == begun) return;
  throw pd::ConfigError(component, option, fmt::format("{}, as in the run to resume", begun), given);
}

class Train {
 public:
  explicit Train(CLI::App& command) : command_(&command) {
    const auto take = [](auto& target) { return [&target](auto value) { target = std::move(value); }; };
    add_value<std::string>(command, "--config", "TOML file of options, which others given here replace", take(config_));
    add_value<std::string>(command, "--data",
                           "folder with train-images-idx3-ubyte and its labels, plain or .gz, or with PNG or JPEG "
                           "files and dataset.json; or an NPY file",
                           take(data_));
    add_unreadable(command, unreadable_);
    add_value<std::string>(command, "--out", "new folder for the model, the loss and samples", take(out_));
    add_value<double>(command, "--minutes", "time to train for", take(minutes_))->default_str("5");
    add_value<std::uint64_t>(command, "--images", "images to train on, instead of --minutes", take(images_));
    command.add_flag("--dry-run", dry_run_, "tell what the run would take in time and memory, and write nothing");
    command.add_flag("--resume", resume_, "go on with the run in --out from its last checkpoint, or begin it");
    add_value<std::uint64_t>(command, "--checkpoint-every", "steps between checkpoints, the last two of which are kept",
                             take(checkpoint_every_))
        ->default_str("500");
    add_value<std::string>(command, "--from", "model file to start from, with its settings and classes", take(from_));
    add_value<std::vector<std::string>>(
        command, "--class-names", "of class 0, 1, ...; garments for Fashion-MNIST, else numbers", take(class_names_));
    processes_.add_to(command);
    given_.add_to(command, "Training", training_);
    new_model_.add_to(command, given_of_model_);
    given_of_run_.add_to(command, "Logs", logs_);
    given_of_run_.add_to(command, "Machine", reading_);
    given_of_execution_.add_to(command, "Machine", execution_);
  }

  void run() {
    check_command_line();
    processes_.run(component, [this](RunProcesses& processes) { run(processes); });
  }

 private:
  void run(RunProcesses& processes) {
    given_of_execution_.apply();
    const pd::TorchDevice device = prepare_device(execution_, component);

    std::optional<Model> start;
    if (!from_.empty()) {
      start = load_model(from_, device);
      training_ = start->record.training;
    }
    given_.apply();
    training_.check();
    given_of_run_.apply();
    logs_.check();

    const ImageSource source = open_images(data_, Split::train, unreadable_, component);
    if (processes.leads()) source.tell_skipped();
    std::vector<std::string> names = default_class_names(source.fingerprint, source.images.class_count());
    if (start) {
      require_same_data(start->record, source.fingerprint, component);
      names = start->record.class_names;
    } else {
      given_of_model_.apply();
      start = new_model_.build(source.images, training_, given_of_model_, device,
                               [](std::string_view text) { fmt::print(stderr, "patchdiff: {}\n", text); });
    }
    if (!class_names_.empty()) names = class_names_;
    check_class_names(names, start->denoiser.label_dim());
    start->record.class_names = names;
    start->record.training = training_;
    start->record.data = source.fingerprint;

    const pd::AnyDataset padded(pd::PaddedDataset(source.images, start->denoiser.image().size()));
    const pd::Normalization& normalization = start->record.normalization;
    const pd::AnyDataset images =
        normalization.mean.empty() ? padded : pd::AnyDataset(pd::NormalizedDataset(padded, normalization));
    const TrainingRun training(images, training_, reading_, start->denoiser);
    if (dry_run_) {
      if (processes.leads()) print_estimate(training, *start);
    } else {
      train(training, std::move(*start), processes);
    }
  }

  void check_command_line() const {
    require_given(*command_, "--data");
    if (!dry_run_) require_given(*command_, "--out");
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

  TrainingLength length() const { return {.images = images_, .minutes = images_ ? 0 : minutes_.value_or(5)}; }

  /// Errors: what the first steps throw.
  void print_estimate(const TrainingRun& training, Model& start) const {
    std::int64_t parameters = 0;
    start.denoiser.visit_parameters(
        [&](std::string_view, const at::Tensor& value, const at::Tensor&) { parameters += value.numel(); });
    const TrainingEstimate estimate = training.estimate(start.denoiser, length());
    fmt::print("data       {}\nnetwork    {} parameters\nrun        {} images in {}, {:.0f} images/s\n",
               start.record.data, parameters, estimate.images, duration_text(estimate.seconds),
               static_cast<double>(estimate.images) / estimate.seconds);
    const auto pixels = static_cast<double>(pd::pixel_count(start.denoiser.image().size()));
    for (const PatchCost& cost : estimate.patches) {
      fmt::print(
          "patch      {}: {:.2f} of a full image's time, {:.2f} of its pixels, {:.0f} MiB of tensors in a step\n",
          pd::to_string(cost.patch), cost.time, static_cast<double>(pd::pixel_count(cost.patch)) / pixels,
          static_cast<double>(cost.bytes) / (1 << 20));
    }
    for (const auto& [probability, images] : estimate.speed_ups) {
      fmt::print(
          "advice     --full-image-probability {} takes {:.2f} times the images that full images would in the time\n",
          probability, images);
    }
  }

  /// What must be the same for a run to go on.
  pd::Checkpoint::Settings settings_of(const Model& start) const {
    pd::Checkpoint::Settings settings{{"from_images", fmt::format("{}", start.record.images)},
                                      {"data", start.record.data},
                                      {"class_names", setting_text(start.record.class_names)}};
    if (from_.empty()) settings["image_scaling"] = setting_text(new_model_.image_scaling);
    const pd::Normalization& normalization = start.record.normalization;
    settings["normalization"] = normalization.mean.empty()
                                    ? "none"
                                    : fmt::format("mean {}, deviation {}", setting_text(normalization.mean),
                                                  setting_text(normalization.deviation));
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
    for (const char* of_length : {"total", "minutes"}) expected.erase(of_length);
    require_all_as_begun(expected, settings);
    return found;
  }

  /// Names what is at fault: the data, from which much follows, then options, then what follows from those.
  void require_all_as_begun(const pd::Checkpoint::Settings& begun, const pd::Checkpoint::Settings& given) const {
    const auto require = [&](const std::string& argument, const std::string& key) {
      require_as_begun(argument, text_of(begun, key), text_of(given, key));
    };
    const auto is_option = [&](const std::string& key) {
      return command_->get_option_no_throw(option_name(key)) != nullptr;
    };
    require("--data", "data");
    require("images seen by the model of --from", "from_images");
    for (const auto& [key, value] : begun) {
      if (is_option(key)) require(option_name(key), key);
    }
    for (const auto& [key, value] : begun) {
      if (!is_option(key)) require("the model's " + key, key);
    }
  }

  /// The length that a run was begun with. Errors: ConfigError where another one is given.
  TrainingLength length_of(const pd::Checkpoint& checkpoint) const {
    const std::string total = checkpoint.settings().at("total"), minutes = text_of(checkpoint.settings(), "minutes");
    if (images_) require_as_begun("--images", total, setting_text(*images_));
    if (minutes_) require_as_begun("--minutes", minutes, setting_text(*minutes_));
    TrainingLength length;
    read_setting(total, length.images.emplace());
    read_setting(minutes, length.minutes);
    return length;
  }

  /// Writes every setting of this run, for `--config`. Errors: FileError.
  void write_settings(const fs::path& path, const Model& start, const TrainingLength& length) const {
    ConfigText config;
    config.add("data", data_);
    config.add("unreadable", unreadable_);
    if (length.minutes > 0) {
      config.add("minutes", length.minutes);
    } else {
      config.add("images", *length.images);
    }
    config.add("checkpoint_every", checkpoint_every_);
    if (!from_.empty()) config.add("from", from_);
    if (!start.record.class_names.empty()) config.add("class_names", start.record.class_names);
    config.table("training");
    config.add_all(start.record.training);
    if (from_.empty()) new_model_.write(config);
    config.table("logs");
    config.add_all(logs_);
    config.table("machine");
    config.add_all(reading_);
    config.add_all(execution_);
    pd::AtomicFile file(path, component);
    file.write(config.text());
    file.commit();
  }

  void train(const TrainingRun& training, Model start, RunProcesses& processes) const {
    const StopSignal stop;
    std::optional<RunFolder> folder;
    if (processes.leads()) folder.emplace(out_, resume_);
    pd::any_process(processes, false, "opening of the folder");  // which the others read from then on
    const fs::path out = out_;
    const pd::Checkpoint::Settings settings = settings_of(start);
    Resuming resuming{.folder = pd::CheckpointFolder(out), .every = checkpoint_every_, .settings = settings};
    resuming.from = checkpoint_of(resuming.folder, settings);
    if (resume_ && !resuming.from && RunFolder::is_finished(out)) {
      if (processes.leads()) fmt::print("{} holds a finished run\n", out_);
      return;
    }
    const TrainingLength length = resuming.from ? length_of(*resuming.from) : this->length();
    if (!processes.leads()) {
      training(std::move(start.denoiser), length, resuming, nullptr, stop, processes);
      return;
    }
    lead(training, std::move(start), length, resuming, *folder, stop, processes);
  }

  /// Trains, and writes what a run leaves.
  void lead(const TrainingRun& training, Model start, const TrainingLength& length, const Resuming& resuming,
            const RunFolder& folder, const StopSignal& stop, RunProcesses& processes) const {
    const std::uint64_t from_step = resuming.from ? resuming.from->state().step : 0;
    if (resuming.from) fmt::print("resuming after step {}\n", from_step);
    write_settings(folder / RunFolder::settings, start, length);
    const auto draw = [&record = start.record](const Denoiser& averaged) {
      const WindowSettings windows{.window = drawn_window(averaged)};
      return picture_of(draw_samples(averaged, {.classes = all_classes(averaged.label_dim()),
                                                .sampling = record.sampling,
                                                .windows = windows,
                                                .normalization = record.normalization}));
    };
    RunOutput output{.logs = RunLogs(folder, logs_, training.loss_table(start.denoiser), draw, from_step)};
    TrainingResult result = training(std::move(start.denoiser), length, resuming, &output, stop, processes);
    start.record.images += result.images;
    try {
      save_model(folder / RunFolder::model, result.averaged, start.record);
    } catch (const pd::FileError&) {
      if (!result.log_failed) throw;
    }
    if (result.log_failed) std::rethrow_exception(result.log_failed);
    pd::write_png(folder / RunFolder::loss_picture, loss_picture(read_loss_log(folder / RunFolder::losses)));
    pd::write_png(folder / RunFolder::samples, draw(result.averaged));
    if (!result.stopped) resuming.folder.clear();
    fmt::print("wrote {}, {}, {} and {} to {} after {} images\n", RunFolder::model, RunFolder::losses,
               RunFolder::loss_picture, RunFolder::samples, out_, result.images);
    if (result.stopped) {
      fmt::print("stopped early; go on with: patchdiff train --config {} --out {} --resume{}\n",
                 (folder / RunFolder::settings).string(), out_, processes_.over_mpi() ? " --mpi" : "");
    }
  }

  CLI::App* command_;
  std::string config_, data_, out_, from_;
  Unreadable unreadable_ = Unreadable::stop;
  bool resume_ = false, dry_run_ = false;
  ProcessOptions processes_;
  std::uint64_t checkpoint_every_ = 500;
  std::optional<double> minutes_{};
  std::optional<std::uint64_t> images_{};
  std::vector<std::string> class_names_{};
  TrainingSettings training_{};
  ModelSettings new_model_{};
  LogSettings logs_{};
  ReadingSettings reading_{};
  ExecutionSettings execution_{};
  GivenSettings given_, given_of_model_, given_of_run_, given_of_execution_;
};

}  // namespace

Command train_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand(component, "Trains a model on patches of a folder of images.");
  return {command, [train = std::make_shared<Train>(*command)] { train->run(); }};
}
