// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/io/checkpoint.hpp>
#include <patchdiff/io/checkpoint_folder.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/patch/image_batch.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/ema.hpp>
#include <patchdiff/training/power_ema.hpp>
#include <patchdiff/training/train_step.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/file_size_limit.hpp"
#include "support/files.hpp"
#include "support/temporary_folder.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

namespace fs = std::filesystem;

/// A whole run: model, optimiser, averages and state.
template <class B>
struct Run {
  explicit Run(std::uint64_t weights, std::int64_t channels = 1)
      : denoiser(host::PixelwiseNetwork<B>({.in_channels = channels + 2, .out_channels = channels}, {weights}),
                 {.image = {channels, 8, 8}}),
        ema(denoiser, {.rampup_ratio = 0.5}),
        power_ema(denoiser) {
    adam.prepare(denoiser);
  }

  CheckpointParts<B> parts() {
    CheckpointParts<B> all;
    all.add("model", denoiser).add("adam", adam).add("ema", ema).add("power_ema", power_ema);
    return all;
  }

  void train(int steps) {
    const TrainStep<B> step({.schedule = PatchSizeSchedule::stochastic({.image = {8, 8}}), .batch = 2});
    for (int count = 0; count < steps; ++count) {
      const PatchPlan plan = step.plan(state);
      const ImageBatch<B> images{.images = random_tensor<B>({plan.images, 1, 8, 8}, 100 + state.step)};
      step(denoiser, adam, images, plan, state).loss();
      ema.update(denoiser, state);
      power_ema.update(denoiser, state);
    }
  }

  std::vector<double> values() {
    std::vector<double> all;
    parts().visit_state([&](std::string_view, typename B::Tensor& value) {
      for (const double number : B::to_host(value)) all.push_back(number);
    });
    return all;
  }

  DenoiserWrapper<host::PixelwiseNetwork<B>> denoiser;
  Adam<B> adam{{.learning_rate = 0.01}};
  EMA<B> ema;
  PowerEMA<B> power_ema;
  TrainState state{.seed = 3};
};

template <class B>
void check_resume() {
  const TemporaryFolder folder;
  Run<B> whole(1);
  whole.train(5);
  Checkpoint::save(folder / "c", whole.parts(), whole.state, {{"name", "value \"1\"\n"}});
  const std::vector<double> saved = whole.values();
  whole.train(4);

  const Checkpoint checkpoint(folder / "c");
  CHECK(checkpoint.settings() == Checkpoint::Settings{{"name", "value \"1\"\n"}});
  Run<B> other(2);
  other.state = checkpoint.state();
  CHECK(other.state.step == 5);
  checkpoint.restore(other.parts());
  CHECK(other.values() == saved);
  CHECK(other.ema.images() == checkpoint.state().images);
  other.train(4);
  CHECK(other.values() == whole.values());
  CHECK(other.state == whole.state);
}

TEST_CASE("a run that goes on from a checkpoint is the run that was never interrupted, bit for bit") {
  SECTION("float32") { check_resume<host::SpanBackend<float>>(); }
  SECTION("float64") { check_resume<host::SpanBackend<double>>(); }
}

using B = host::SpanBackend<float>;

TEST_CASE("equal runs give equal checkpoints, in float32 where that loses nothing") {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b"}) {
    Run<B> run(1);
    run.train(2);
    Checkpoint::save(folder / name, run.parts(), run.state);
  }
  CHECK(folder.read("a") == folder.read("b"));
  const SafetensorsReader file(folder / "a");
  REQUIRE(file.tensors().size() > 5);
  for (const SafetensorsTensor& tensor : file.tensors()) CHECK(tensor.type == SafetensorsType::float32);
}

TEST_CASE("a checkpoint with any byte changed is refused") {
  const TemporaryFolder folder;
  Run<B> run(1);
  run.train(1);
  Checkpoint::save(folder / "whole", run.parts(), run.state, {{"key", "text"}});
  const std::string bytes = folder.read("whole");
  for (std::size_t at = 0; at < bytes.size(); at += at < 3000 ? 1 : 7) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    CAPTURE(at, bytes.substr(at, 20));
    if (bytes[at] == ' ' || bytes[at] == '\n') continue;  // padding
    CHECK_THROWS_AS(Checkpoint(folder.add("damaged", damaged)), Error);
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, bytes.size() - 1}) {
    CHECK_THROWS_AS(Checkpoint(folder.add("short", bytes.substr(0, size))), DataError);
  }
}

TEST_CASE("checkpoints of another model, format or version are refused, and the run stays as it was") {
  const TemporaryFolder folder;
  Run<B> run(1), other(1, 2);
  Checkpoint::save(folder / "c", run.parts(), run.state);
  const std::vector<double> before = other.values();
  const Checkpoint checkpoint(folder / "c");
  CHECK_THROWS_AS(checkpoint.restore(other.parts()), DataError);
  CHECK_THROWS_WITH(
      checkpoint.restore(other.parts()),
      ContainsSubstring("load_weights: " + (folder / "c").string() + ": expected the network's weights") &&
          ContainsSubstring("adam.mean.") && ContainsSubstring("ema.") && ContainsSubstring("model."));
  CHECK(other.values() == before);

  const std::string path = (folder / "changed").string();
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string bytes = folder.read("c");
    bytes.replace(bytes.find(from), from.size(), to);
    return folder.add("changed", bytes);
  };
  const std::string begin = "Checkpoint: " + path + ": expected ";
  CHECK_ERROR(DataError, begin + "a checkpoint of patchdiff, got patchdiff_checkpaint",
              Checkpoint(changed("patchdiff_checkpoint", "patchdiff_checkpaint")));
  const auto of_version = [&](const std::string& version) {
    return Checkpoint(changed(R"("version":"1")", R"("version":")" + version + '"'));
  };
  CHECK_ERROR(VersionError, begin + "version 1, got 2, of a newer patchdiff: use that one", of_version("2"));
  CHECK_ERROR(VersionError,
              begin + "version 1, got 0, of an older patchdiff: finish the run with the one that wrote it",
              of_version("0"));
  CHECK_ERROR(DataError, begin + "metadata as they were written, got others",
              Checkpoint(changed(R"(\"step\":0)", R"(\"step\":9)")));
  CHECK_ERROR(DataError, begin + "a checkpoint of patchdiff, got no \"format\" in the metadata",
              Checkpoint(changed("\"format\"", "\"farmat\"")));
}

TEST_CASE("a folder keeps the last checkpoints, and goes back to an older one where the newest is damaged") {
  const TemporaryFolder folder;
  const CheckpointFolder checkpoints(folder.path(), 2);
  CHECK_FALSE(checkpoints.latest());
  Run<B> run(1);
  for (const std::uint64_t step : {8U, 9U, 10U, 100U}) {
    run.state.step = step;
    checkpoints.save(run.parts(), run.state);
  }
  CHECK(names_in(folder.path()) == std::vector<std::string>{"checkpoint-10.safetensors", "checkpoint-100.safetensors"});
  CHECK(checkpoints.latest()->state().step == 100);

  folder.add("checkpoint-100.safetensors", folder.read("checkpoint-100.safetensors").substr(0, 500));
  folder.add("checkpoint-200.safetensors.partial0", "half");
  folder.add("checkpoint-300.safetensor", "no checkpoint");
  std::vector<std::string> messages;
  const auto found = checkpoints.latest([&](std::string_view message) { messages.emplace_back(message); });
  REQUIRE(found);
  CHECK(found->state().step == 10);
  REQUIRE(messages.size() == 1);
  CHECK_THAT(messages[0], ContainsSubstring("checkpoint-100.safetensors"));

  // The run goes on from step 10; what it writes replaces the damaged file in the end.
  for (const std::uint64_t step : {20U, 30U, 100U}) {
    run.state.step = step;
    checkpoints.save(run.parts(), run.state);
    if (step == 20) CHECK(fs::exists(folder / "checkpoint-10.safetensors"));
  }
  CHECK(names_in(folder.path()) == std::vector<std::string>{"checkpoint-100.safetensors", "checkpoint-30.safetensors",
                                                            "checkpoint-300.safetensor"});
  CHECK(checkpoints.latest()->state().step == 100);
  checkpoints.clear();
  CHECK(names_in(folder.path()) == std::vector<std::string>{"checkpoint-300.safetensor"});
}

TEST_CASE(
    "a folder goes back to no older checkpoint where the newest may be whole, and to none where all are damaged") {
  const TemporaryFolder folder;
  const CheckpointFolder checkpoints(folder.path());
  Run<B> run(1);
  for (const std::uint64_t step : {8U, 9U}) {
    run.state.step = step;
    checkpoints.save(run.parts(), run.state);
  }
  const std::string newest = folder.read("checkpoint-9.safetensors"), version = R"("version":"1")";
  std::string newer = newest;
  newer.replace(newer.find(version), version.size(), R"("version":"2")");
  folder.add("checkpoint-9.safetensors", newer);
  CHECK_ERROR(VersionError,
              "Checkpoint: " + (folder / "checkpoint-9.safetensors").string() +
                  ": expected version 1, got 2, of a newer patchdiff: use that one",
              checkpoints.latest());
  folder.add("checkpoint-9.safetensors", newest);
  fs::create_directory(folder / "checkpoint-10.safetensors");
  CHECK_ERROR(FileError,
              "SafetensorsReader: " + (folder / "checkpoint-10.safetensors").string() +
                  ": expected a regular file, got a folder or a device",
              checkpoints.latest());
  fs::remove(folder / "checkpoint-10.safetensors");
  for (const char* name : {"checkpoint-8.safetensors", "checkpoint-9.safetensors"}) folder.add(name, "half");
  CHECK_ERROR(DataError,
              "CheckpointFolder: " + folder.path().string() +
                  ": expected a checkpoint that is whole, got 2 damaged: remove them to begin anew",
              checkpoints.latest());
}

TEST_CASE("a folder of checkpoints refuses what cannot work") {
  const TemporaryFolder folder;
  CHECK_ERROR(ConfigError, "CheckpointFolder: keep: expected at least 1, got 0", CheckpointFolder(folder.path(), 0));
  CHECK_ERROR(FileError,
              "CheckpointFolder: " + (folder / "none").string() +
                  ": expected a readable folder, got \"No such file or directory\"",
              CheckpointFolder(folder / "none").latest());
}

#ifdef PATCHDIFF_TEST_HAS_FILE_SIZE_LIMIT
TEST_CASE("a full disk loses no checkpoint that was saved") {
  const TemporaryFolder folder;
  const CheckpointFolder checkpoints(folder.path(), 1);
  Run<B> run(1);
  run.train(1);
  checkpoints.save(run.parts(), run.state);
  run.train(1);
  {
    const FileSizeLimit full(1000);
    CHECK_THROWS_AS(checkpoints.save(run.parts(), run.state), FileError);
  }
  CHECK(names_in(folder.path()) == std::vector<std::string>{"checkpoint-1.safetensors"});
  CHECK(checkpoints.latest()->state().step == 1);
}
#endif

}  // namespace
}  // namespace patchdiff
