// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <patchdiff/io/protobuf_message.hpp>

#include "cli/run_patchdiff.hpp"
#include "cli/small_run.hpp"
#include "support/catch.hpp"
#include "support/file_size_limit.hpp"
#include "support/files.hpp"
#include "support/temporary_folder.hpp"

namespace fs = std::filesystem;
using patchdiff::ProtobufMessage;

namespace {

/// A run of 1,600 images in 183 steps, with a checkpoint every 20.
fs::path write_recipe(const TemporaryFolder& folder) {
  return folder.add("run.toml", "data = \"" + SmallRun::get().data.string() +
                                    "\"\n"
                                    "images = 1600\n"
                                    "checkpoint_every = 20\n"
                                    "[training]\nbatch = 4\n"
                                    "[model]\nmodel_channels = 4\nchannel_mult = [1, 1]\nattn_resolutions = [16]\n"
                                    "precision = \"float32\"\n"
                                    "[logs]\njson_lines = true\n"
                                    "[machine]\nthreads = 1\n");
}

std::vector<std::string> train(const fs::path& recipe, const fs::path& out, const std::vector<std::string>& more = {}) {
  return joined({"train", "--config", recipe, "--out", out}, more);
}

std::size_t lines_of(const fs::path& path) {
  const std::string text = bytes_of(path);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

/// Begins or resumes a run with a checkpoint after each step, and ends it by the signal after a few.
Finished interrupted(const fs::path& recipe, const fs::path& out, int signal,
                     const std::vector<std::string>& more = {}) {
  Patchdiff training(train(recipe, out, joined({"--checkpoint-every", "1"}, more)));
  REQUIRE(training.wait_for(" images/s"));
  while (lines_of(out / "loss.csv") < 4) std::this_thread::yield();
  training.signal(signal);
  return training.wait();
}

}  // namespace

TEST_CASE("A run that is killed at 20 moments ends as the one that was not, bit for bit") {
  const TemporaryFolder folder;
  const fs::path recipe = write_recipe(folder), whole = folder / "whole", out = folder / "out";
  const Finished uninterrupted = run_patchdiff(train(recipe, whole, {"--resume"}));
  CHECK(uninterrupted.err == "");
  REQUIRE(uninterrupted.code == 0);
  const std::size_t steps = lines_of(whole / "loss.csv") - 1;
  REQUIRE(steps > 150);
  // A checkpoint holds weights, two moments and the average: about four times the model.
  const auto model_bytes = fs::file_size(whole / "model.safetensors");

  std::mt19937 random(1);
  int before_the_first = 0, in_a_file = 0;
  for (int kill = 0; kill < 20; ++kill) {
    CAPTURE(kill);
    if (kill % 3 == 2) {
      const FileSizeLimit limit(model_bytes + random() % model_bytes, FileSizeLimit::Beyond::signal);
      CHECK(run_patchdiff(train(recipe, out, {"--resume"})).code == -SIGXFSZ);
      ++in_a_file;
      continue;
    }
    const std::size_t wanted = kill == 0 ? 5 : lines_of(out / "loss.csv") + random() % 30;
    Patchdiff training(train(recipe, out, {"--resume"}));
    REQUIRE(training.wait_for(" images/s"));
    while (lines_of(out / "loss.csv") < std::min(wanted, steps)) std::this_thread::yield();
    training.signal(SIGKILL);
    CHECK(training.wait().code == -SIGKILL);
    if (wanted < 20) ++before_the_first;
  }
  CHECK(before_the_first >= 1);
  CHECK(in_a_file == 6);

  const Finished finished = run_patchdiff(train(recipe, out, {"--resume"}));
  CHECK(finished.err == "");
  REQUIRE(finished.code == 0);
  CHECK(bytes_of(out / "model.safetensors") == bytes_of(whole / "model.safetensors"));
  CHECK(bytes_of(out / "samples.png") == bytes_of(whole / "samples.png"));
  CHECK(lines_of(out / "loss.csv") == steps + 1);
  CHECK(names_in(out) == std::vector<std::string>{".lock", "log.jsonl", "loss.csv", "loss.png", "loss_by_sigma.csv",
                                                  "model.safetensors", "run.toml", "samples.png"});
  // Every step once, and the losses by noise level of all of them.
  CHECK(lines_of(out / "log.jsonl") == steps);
  CHECK(bytes_of(out / "loss_by_sigma.csv") == bytes_of(whole / "loss_by_sigma.csv"));

  const Finished again = run_patchdiff(train(recipe, out, {"--resume"}));
  CHECK(again.code == 0);
  CHECK(again.out == out.string() + " holds a finished run\n");
}

TEST_CASE("TensorBoard keeps the steps up to the checkpoint that a run goes on from") {
  const TemporaryFolder folder;
  const fs::path recipe = write_recipe(folder), out = folder / "out";
  interrupted(recipe, out, SIGKILL, {"--tensorboard"});
  const Finished resumed = run_patchdiff(train(recipe, out, {"--resume", "--tensorboard"}));
  REQUIRE(resumed.code == 0);
  const std::string begin = "resuming after step ";
  REQUIRE(resumed.out.starts_with(begin));
  const std::int64_t step = std::stoll(resumed.out.substr(begin.size()));
  std::vector<std::string> events = names_in(out);
  std::erase_if(events, [](const std::string& name) { return !name.starts_with("events."); });
  REQUIRE(events.size() == 2);
  const auto restart = ProtobufMessage().add_integer(1, 1);  // of a session, which ends what was known from there on
  CHECK_THAT(bytes_of(out / events.back()),
             ContainsSubstring(ProtobufMessage().add_integer(2, step + 1).add_message(7, restart).bytes()));
}

TEST_CASE("The settings beside a run are a configuration that repeats it") {
  const std::string largest_seed = "18446744073709551615";  // larger than TOML's integers
  const TemporaryFolder folder;
  const fs::path recipe = write_recipe(folder);
  REQUIRE(
      run_patchdiff(train(recipe, folder / "a", {"--images", "40", "--p-mean", "-0.5", "--seed", largest_seed})).code ==
      0);
  const Finished repeated = run_patchdiff(train(folder / "a/run.toml", folder / "b"));
  CHECK(repeated.err == "");
  REQUIRE(repeated.code == 0);
  CHECK(bytes_of(folder / "a/model.safetensors") == bytes_of(folder / "b/model.safetensors"));
  CHECK(bytes_of(folder / "a/run.toml") == bytes_of(folder / "b/run.toml"));
  CHECK_THAT(bytes_of(folder / "a/run.toml"), ContainsSubstring("p_mean = -0.5") && ContainsSubstring("images = 40") &&
                                                  ContainsSubstring("\nseed = '" + largest_seed + "'\n"));
}

TEST_CASE("The command line's length of a run takes the place of the configuration's") {
  const TemporaryFolder folder;
  const fs::path recipe = write_recipe(folder);
  const Finished by_time = run_patchdiff(train(recipe, folder / "a", {"--minutes", "0.01"}));
  CHECK(by_time.err == "");
  REQUIRE(by_time.code == 0);
  CHECK_THAT(bytes_of(folder / "a/run.toml"), ContainsSubstring("minutes = 0.01") && !ContainsSubstring("\nimages ="));
  CHECK(run_patchdiff(train(folder / "a/run.toml", folder / "b", {"--images", "40"})).code == 0);
  CHECK_THAT(bytes_of(folder / "b/run.toml"), ContainsSubstring("images = 40") && !ContainsSubstring("minutes"));
}

TEST_CASE("A run is neither begun anew nor finished where its checkpoints cannot be opened") {
  const TemporaryFolder folder;
  const fs::path recipe = write_recipe(folder), out = folder / "out";
  REQUIRE(interrupted(recipe, out, SIGINT).code == 0);  // with a model
  std::vector<fs::path> checkpoints;
  for (const std::string& name : names_in(out)) {
    if (name.starts_with("checkpoint-")) checkpoints.push_back(out / name);
  }
  REQUIRE(checkpoints.size() == 2);
  const auto refusal = [&] {
    const std::vector<std::string> files = names_in(out);
    const std::string losses = bytes_of(out / "loss.csv");
    const Finished finished = run_patchdiff(train(recipe, out, {"--resume"}));
    CHECK(finished.code == 1);
    CHECK(finished.out == "");
    CHECK(names_in(out) == files);
    CHECK(bytes_of(out / "loss.csv") == losses);
    return finished.err;
  };
  for (const fs::path& checkpoint : checkpoints) {
    const std::string bytes = bytes_of(checkpoint), version = R"("version":"1")";
    std::string newer = bytes;
    newer.replace(newer.find(version), version.size(), R"("version":"2")");
    std::ofstream(checkpoint, std::ios::binary) << newer;
  }
  CHECK(refusal().ends_with(": expected version 1, got 2, of a newer patchdiff: use that one\n"));
  for (const fs::path& checkpoint : checkpoints) fs::resize_file(checkpoint, 1000);
  CHECK(refusal().ends_with("\npatchdiff: CheckpointFolder: " + out.string() +
                            ": expected a checkpoint that is whole, got 2 damaged: remove them to begin anew\n"));
}

TEST_CASE("A run is not resumed with other settings or other data") {
  const TemporaryFolder folder;
  const fs::path recipe = write_recipe(folder), out = folder / "out";
  interrupted(recipe, out, SIGKILL);
  const auto refusal = [&](const std::vector<std::string>& more) {
    const Finished finished = run_patchdiff(train(recipe, out, joined({"--resume"}, more)));
    CHECK(finished.code == 1);
    return finished.err;
  };
  CHECK(refusal({"--batch", "8"}) == "patchdiff: train: --batch: expected 4, as in the run to resume, got 8\n");
  CHECK(refusal({"--model-channels", "8"}) ==
        "patchdiff: train: --model-channels: expected 4, as in the run to resume, got 8\n");
  CHECK(refusal({"--images", "10"}) == "patchdiff: train: --images: expected 1600, as in the run to resume, got 10\n");
  CHECK(refusal({"--minutes", "1"}) == "patchdiff: train: --minutes: expected none, as in the run to resume, got 1\n");
  CHECK_THAT(refusal({"--data", write_small_data(folder / "other", 90)}),
             ContainsSubstring("train: --data: expected 120 images of 1x28x28 in 3 classes, crc32 "));
  // Other data have other classes, and much else follows from options.
  const fs::path unlabelled = write_small_data(folder / "unlabelled");
  fs::remove(unlabelled / "train-labels-idx1-ubyte");
  CHECK_THAT(refusal({"--data", unlabelled}),
             ContainsSubstring("train: --data: expected 120 images of 1x28x28 in 3 classes, crc32 "));
  CHECK(refusal({"--augment-probability", "0.1"}) ==
        "patchdiff: train: --augment-probability: expected 0, as in the run to resume, got 0.1\n");
  CHECK(refusal({"--sigma-data", "0.4"}) ==
        "patchdiff: train: the model's formulation: expected edm, sigma_data 0.5, as in the run to resume, got edm, "
        "sigma_data 0.4\n");
  CHECK(refusal({"--image-scaling", "measured"}) ==
        "patchdiff: train: --image-scaling: expected as_stored, as in the run to resume, got measured\n");
  const Finished other_model = run_patchdiff({"train", "--data", SmallRun::get().data, "--from", SmallRun::get().model,
                                              "--images", "1600", "--batch", "4", "--out", out, "--resume"});
  CHECK(other_model.err.starts_with(
      "patchdiff: train: images seen by the model of --from: expected 0, as in the run to resume, got "));
  CHECK(run_patchdiff(train(recipe, out, {"--resume"})).code == 0);
}

TEST_CASE("A run on normalised images is not resumed on images as they are stored") {
  const TemporaryFolder folder;
  const fs::path recipe = write_recipe(folder), out = folder / "out";
  interrupted(recipe, out, SIGKILL, {"--image-scaling", "normalized"});
  CHECK(run_patchdiff(train(recipe, out, {"--resume", "--image-scaling", "as_stored", "--sigma-data", "1"})).err ==
        "patchdiff: train: --image-scaling: expected normalized, as in the run to resume, got as_stored\n");
  CHECK(run_patchdiff(train(recipe, out, {"--resume", "--image-scaling", "normalized"})).code == 0);
}

TEST_CASE("A run by time is resumed for the time that it was begun with") {
  const TemporaryFolder folder;
  const fs::path out = folder / "out";
  interrupted(write_recipe(folder), out, SIGKILL, {"--minutes", "7"});
  std::string settings = bytes_of(out / "run.toml");
  const std::string minutes = "minutes = 7\n";
  settings.erase(settings.find(minutes), minutes.size());
  const fs::path recipe = folder.add("no_length.toml", settings);
  CHECK(run_patchdiff(train(recipe, out, {"--resume", "--minutes", "8"})).err ==
        "patchdiff: train: --minutes: expected 7, as in the run to resume, got 8\n");
  interrupted(recipe, out, SIGKILL, {"--resume"});
  CHECK_THAT(bytes_of(out / "run.toml"), ContainsSubstring("\n" + minutes));
  CHECK(run_patchdiff(train(recipe, out, {"--resume", "--minutes", "8"})).err ==
        "patchdiff: train: --minutes: expected 7, as in the run to resume, got 8\n");
}

TEST_CASE("A configuration that is not understood is refused with the nearest words") {
  const TemporaryFolder folder;
  const std::string path = (folder / "c.toml").string();
  const auto refusal = [&](const std::string& text, int code = 2) {
    const Finished finished = run_patchdiff(train(folder.add("c.toml", text), folder / "out"));
    CHECK(finished.code == code);
    CHECK(finished.out == "");
    return finished.err;
  };
  const std::string begin = "patchdiff: train: " + path + ": expected ";
  CHECK(refusal("imagse = 3\n") == begin + "a known setting such as \"images\", got \"imagse\"\n");
  CHECK(refusal("[training]\nbacth = 3\n") == begin + "a known setting such as \"batch\", got \"bacth\"\n");
  CHECK(refusal("[training]\nmodel_channels = 3\n").starts_with(begin + "a known setting such as "));
  CHECK(refusal("[trainig]\nbatch = 3\n") == begin + "a known table such as \"training\", got \"trainig\"\n");
  CHECK(refusal("[training]\nbatch = { a = 1 }\n") ==
        begin + "a number, a text or an array of \"batch\", got another kind of value\n");
  CHECK(refusal("[training]\nbatch = \"many\"\n").starts_with("patchdiff: train: --batch: expected a whole number"));
  CHECK(refusal("batch = = 3\n", 1).starts_with(begin + "sound TOML, got line 1: "));
  CHECK(refusal("images = 3\nminutes = 1\n") ==
        "patchdiff: train: --data: expected folder with train-images-idx3-ubyte and its labels, plain or .gz, or with "
        "PNG or JPEG files and dataset.json; or an NPY file, got none\n");
  CHECK(run_patchdiff({"train", "--config", folder / "none.toml", "--out", folder / "out"}).err ==
        "patchdiff: train: " + (folder / "none.toml").string() +
            ": expected a readable file, got \"No such file or directory\"\n");
  CHECK(run_patchdiff(train(folder / "c.toml", folder / "out", {"--config=" + path})).err ==
        "patchdiff: train: --config: expected one file, got 2\n");
  CHECK_FALSE(fs::exists(folder / "out"));
}
