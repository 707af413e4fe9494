// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/io/safetensors_writer.hpp>

#include "cli/run_patchdiff.hpp"
#include "cli/small_run.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/png_size.hpp"
#include "support/temporary_folder.hpp"

namespace fs = std::filesystem;
using namespace patchdiff;

namespace {

nlohmann::json record_of(const fs::path& model) {
  return nlohmann::json::parse(SafetensorsReader(model).metadata().at("patchdiff_program"));
}

const std::vector<std::string> files_of_run{
    ".lock", "loss.csv", "loss.png", "loss_by_sigma.csv", "model.safetensors", "run.toml", "samples.png"};

std::vector<std::string> endless(const fs::path& data, const fs::path& out) {
  return joined({"train", "--data", data, "--out", out, "--images", "1000000000", "--batch", "4", "--threads", "1"},
                small_network);
}

}  // namespace

TEST_CASE("train writes the model, the losses and two pictures, and says so") {
  const SmallRun& run = SmallRun::get();
  CHECK(run.finished.err == "");
  REQUIRE(run.finished.code == 0);
  CHECK_THAT(run.finished.out, ContainsSubstring(" of 60 ") && ContainsSubstring(" images/s  loss ") &&
                                   ContainsSubstring("wrote model.safetensors, loss.csv, loss.png and samples.png to " +
                                                     run.out.string()));
  CHECK(names_in(run.out) == files_of_run);
  CHECK(png_size(run.out / "loss.png") == ImageSize{400, 720});
  CHECK(png_size(run.out / "samples.png") == ImageSize{3 * 98 + 2, 8 * 98 + 2});

  // 60 images in growing patches: a fifth of them by 16 of 8x8, then 8 of 16x16, then 4 of 32x32.
  const std::string log = bytes_of(run.out / "loss.csv");
  CHECK_THAT(log, ContainsSubstring("step,images,patch,loss,seconds\n1,16,8,") && ContainsSubstring("\n2,24,16,") &&
                      ContainsSubstring("\n4,36,32,"));
  const auto record = record_of(run.model);
  CHECK(record["class_names"] == std::vector<std::string>{"shirt", "trousers", "pullover"});
  CHECK(record["images"] == 60);
  CHECK(record["training"]["batch"] == 4);
  CHECK_THAT(record["data"].get<std::string>(), ContainsSubstring("120 images of 1x28x28 in 3 classes, crc32 "));
}

TEST_CASE("Ctrl-C and SIGTERM end training, save everything and say how to go on") {
  const int signal = GENERATE(SIGINT, SIGTERM);
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  Patchdiff training(endless(run.data, folder / "out"));
  REQUIRE(training.wait_for("images/s"));

  const Finished second = run_patchdiff(endless(run.data, folder / "out"));
  CHECK(second.code == 1);
  CHECK(second.out == "");
  CHECK(second.err == "patchdiff: train: --out: expected a folder that no other run writes to, got \"" +
                          (folder / "out").string() + "\"\n");

  training.signal(signal);
  const Finished finished = training.wait();
  CHECK(finished.err == "");
  REQUIRE(finished.code == 0);
  std::vector<std::string> files = names_in(folder / "out");
  CHECK(std::erase_if(files, [](const std::string& name) { return name.starts_with("checkpoint-"); }) == 1);
  CHECK(files == files_of_run);
  CHECK(png_size(folder / "out/loss.png") == ImageSize{400, 720});
  CHECK(bytes_of(folder / "out/loss.csv").back() == '\n');
  CHECK(record_of(folder / "out/model.safetensors")["images"] < 1000000000);

  const std::string out = (folder / "out").string();
  CHECK_THAT(finished.out, ContainsSubstring("stopped early; go on with: patchdiff train --config " + out +
                                             "/run.toml --out " + out + " --resume\n"));
}

TEST_CASE("A run can start from a model's weights") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  const std::string next = folder / "next";
  const Finished going_on = run_patchdiff({"train", "--data", run.data, "--out", next, "--from", run.model, "--seed",
                                           "2", "--images", "20", "--threads", "1"});
  CHECK(going_on.err == "");
  CHECK(going_on.code == 0);
  const auto record = record_of(next + "/model.safetensors");
  CHECK(record["training"]["batch"] == 4);
  CHECK(record["training"]["seed"] == 2);
  CHECK(record["images"] == 60 + 20);
}

TEST_CASE("A run can start from a model that another program wrote") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  const SafetensorsReader file(run.model);
  std::map<std::string, std::string> metadata = file.metadata();
  for (const char* key : {"patchdiff_program", "program", "average"}) CHECK(metadata.erase(key) == 1);
  write_safetensors(folder / "converted", file.tensors(), metadata);
  const Finished told = run_patchdiff({"info", folder / "converted"});
  CHECK_THAT(told.out, ContainsSubstring("  kind                     unknown "));
  const auto train = [&](const std::vector<std::string>& more) {
    return run_patchdiff(joined({"train", "--data", run.data, "--out", folder / "next", "--from", folder / "converted",
                                 "--images", "20", "--batch", "4", "--threads", "1"},
                                more));
  };
  const Finished trained = train({"--ema-halflife-images", "1e9"});
  CHECK(trained.err == "");
  REQUIRE(trained.code == 0);
  const auto record = record_of(folder / "next/model.safetensors");
  CHECK(record["images"] == 20);
  CHECK(record["class_names"] == std::vector<std::string>{"0", "1", "2"});
  CHECK_THAT(run_patchdiff({"info", folder / "next/model.safetensors"}).out,
             ContainsSubstring("  kind                     halflife ") &&
                 ContainsSubstring("  halflife_images          1000000000 "));
}

TEST_CASE("A dry run tells time and memory, and writes nothing") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  const Finished dry = run_patchdiff(joined({"train", "--data", run.data, "--out", folder / "out", "--images", "5000",
                                             "--batch", "4", "--threads", "1", "--dry-run"},
                                            small_network));
  CHECK(dry.err == "");
  CHECK(dry.code == 0);
  CHECK_THAT(dry.out, ContainsSubstring("data       120 images of 1x28x28 in 3 classes, crc32 ") &&
                          ContainsSubstring(" parameters\nrun        5000 images in ") &&
                          ContainsSubstring(": 1.00 of a full image's time, 1.00 of its pixels, ") &&
                          ContainsSubstring(" MiB of tensors in a step\n") &&
                          ContainsSubstring("advice     --full-image-probability 0.1 takes "));
  CHECK(folder.count() == 0);
}

TEST_CASE("a run writes what its settings add to the losses") {
  const TemporaryFolder folder;
  const fs::path out = folder / "out";
  const Finished finished = run_patchdiff(joined(
      {"train", "--data", SmallRun::get().data, "--out", out, "--images", "60", "--batch", "4", "--micro-batch", "3",
       "--max-gradient-norm", "2", "--threads", "1", "--json-lines", "--tensorboard", "--samples-every", "2"},
      small_network));
  CHECK(finished.err == "");
  REQUIRE(finished.code == 0);
  std::vector<std::string> files = names_in(out);
  CHECK(std::erase_if(files, [](const std::string& name) { return name.starts_with("events.out.tfevents."); }) == 1);
  std::vector<std::string> expected = files_of_run;
  expected.emplace_back("log.jsonl");
  for (int step = 2; step <= 10; step += 2) expected.push_back(fmt::format("samples-{:07}.png", step));
  std::sort(expected.begin(), expected.end());
  CHECK(files == expected);
  CHECK(png_size(out / "samples-0000002.png") == png_size(out / "samples.png"));

  std::istringstream lines(bytes_of(out / "log.jsonl"));
  std::uint64_t step = 0, images = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto fields = nlohmann::json::parse(line);
    CHECK(fields["step"] == ++step);
    CHECK(fields["loss"] > 0);
    CHECK(fields["gradient_norm"] > 0);
    images = fields["images"];
  }
  CHECK(images >= 60);
  CHECK_THAT(bytes_of(out / "loss_by_sigma.csv"),
             ContainsSubstring("step,images,patch,sigma_begin,sigma_end,samples,loss,gradient_norm\n" +
                               std::to_string(step) + "," + std::to_string(images) + ",8,"));
}

TEST_CASE("A second Ctrl-C ends the program at once") {
  const SmallRun& run = SmallRun::get();
  const TemporaryFolder folder;
  Patchdiff training(endless(run.data, folder / "out"));
  REQUIRE(training.wait_for("images/s"));
  CHECK(training.signal_until_end(SIGINT).code == -SIGINT);
  CHECK_FALSE(fs::exists(folder / "out/model.safetensors"));
}
