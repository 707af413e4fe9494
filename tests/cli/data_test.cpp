// SPDX-License-Identifier: Apache-2.0
// What train reads, and what it makes of it.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <patchdiff/data/idx_dataset.hpp>
#include <patchdiff/io/safetensors_reader.hpp>

#include "cli/run_patchdiff.hpp"
#include "cli/small_run.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/picture_files.hpp"
#include "support/temporary_folder.hpp"

namespace fs = std::filesystem;
using namespace patchdiff;

namespace {

std::string text_of(std::span<const std::uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

/// The small data's training images as they are, in memory.
ArrayDataset small_images() {
  const fs::path& data = SmallRun::get().data;
  return read_idx_dataset({.images = data / "train-images-idx3-ubyte", .labels = data / "train-labels-idx1-ubyte"});
}

/// The same as PNG files, in the same order, and EDM's labels.
fs::path write_pictures(const TemporaryFolder& folder) {
  const ArrayDataset images = small_images();
  fs::create_directory(folder / "pictures");
  nlohmann::json labels;
  for (std::int64_t index = 0; index < images.size(); ++index) {
    const std::string pixels = text_of(images.pixels(index));
    std::string rows;
    for (std::size_t row = 0; row < 28; ++row) rows += '\0' + pixels.substr(28 * row, 28);
    const std::string name = fmt::format("{:04}.png", index);
    folder.add("pictures/" + name, png_file({.height = 28, .width = 28}, rows));
    labels.push_back({name, images.label(index)});
  }
  folder.add("pictures/dataset.json", nlohmann::json{{"labels", labels}}.dump());
  return folder / "pictures";
}

/// What an NPY file begins with: its type and shape as Python says them.
std::string npy_header(const std::string& type, const std::string& shape) {
  std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
  header.resize(117, ' ');
  return "\x93NUMPY\x01" + std::string(1, '\0') + "\x76" + std::string(1, '\0') + header + '\n';
}

/// The same as an array, which has no labels.
fs::path write_array(const TemporaryFolder& folder) {
  const ArrayDataset images = small_images();
  std::string file = npy_header("|u1", "(120, 28, 28)");
  for (std::int64_t index = 0; index < images.size(); ++index) file += text_of(images.pixels(index));
  return folder.add("images.npy", file);
}

std::vector<std::string> train(const fs::path& data, const fs::path& out, const std::vector<std::string>& more = {}) {
  return joined(joined({"train", "--data", data, "--out", out, "--images", "60", "--batch", "4", "--threads", "1"},
                       small_network),
                more);
}

/// Trains, and gives the weights: the bytes of each tensor, by name.
std::map<std::string, std::string> trained(const fs::path& data, const fs::path& out,
                                           const std::vector<std::string>& more = {}) {
  const Finished finished = run_patchdiff(train(data, out, more));
  CHECK(finished.err == "");
  REQUIRE(finished.code == 0);
  const SafetensorsReader file(out / "model.safetensors");
  std::map<std::string, std::string> weights;
  for (const SafetensorsTensor& tensor : file.tensors()) {
    weights[tensor.name] = {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()};
  }
  return weights;
}

nlohmann::json metadata_of(const fs::path& model, const std::string& key) {
  return nlohmann::json::parse(SafetensorsReader(model).metadata().at(key));
}

}  // namespace

TEST_CASE("The same images train the same model, whatever files they come in") {
  const TemporaryFolder folder;
  const fs::path pictures = write_pictures(folder);
  CHECK(trained(pictures, folder / "a") == trained(SmallRun::get().data, folder / "b"));
  CHECK_THAT(metadata_of(folder / "a/model.safetensors", "patchdiff_program")["data"].get<std::string>(),
             ContainsSubstring("120 images of 1x28x28 in 3 classes, crc32 "));

  // Without labels; of an array, patches are read alone.
  fs::remove(pictures / "dataset.json");
  const fs::path array = write_array(folder);
  CHECK(trained(pictures, folder / "c") == trained(array, folder / "d"));
  CHECK(trained(pictures, folder / "e", {"--x-flip"}) == trained(array, folder / "f", {"--x-flip"}));
  const fs::path model = folder / "c/model.safetensors";
  CHECK(metadata_of(model, "patchdiff_program")["class_names"].empty());
  CHECK(refusal(train(array, folder / "g", {"--workers", "2"})) ==
        "train: --workers: expected 1, as one thread reads the patches of an NPY file, got 2");

  // Without classes there is no guidance.
  const std::string none = "--guidance: expected none, as the model has no classes, got one";
  const std::vector<std::string> sample{"sample",  "--model", model,       "--out", folder / "a.png", "--count", "1",
                                        "--steps", "1",       "--threads", "1"};
  CHECK(refusal(joined(sample, {"--guidance", "3"})) == "sample: " + none);
  const Finished drawn = run_patchdiff(sample);
  CHECK(drawn.code == 0);
  CHECK_THAT(drawn.out, ContainsSubstring(": 1 images, 1 steps of heun, guidance none, seed 1\n"));
  CHECK(ChildProcess({PATCHDIFF_EIGEN_SAMPLER, "--model", model, "--out", folder / "a.png", "--guidance", "3"})
            .wait()
            .err == "eigen_sampler: eigen_sampler: " + none + "\n");
  const std::vector<std::string> evaluate{"evaluate",
                                          "--data",
                                          pictures,
                                          "--test",
                                          pictures,
                                          "--model",
                                          model,
                                          "--count",
                                          "4",
                                          "--steps",
                                          "1",
                                          "--out",
                                          folder / "figures.json",
                                          "--threads",
                                          "1"};
  CHECK(refusal(joined(evaluate, {"--guidance", "1"})) == "evaluate: " + none);
  const Finished judged = run_patchdiff(evaluate);
  CHECK(judged.code == 0);
  CHECK_THAT(judged.out, ContainsSubstring("samples by 1 steps of heun, guidance none, from seed 0\n"));
  const auto settings = nlohmann::json::parse(folder.read("figures.json"))["settings"];
  CHECK(settings["steps"] == 1);
  CHECK_FALSE(settings.contains("guidance"));
}

TEST_CASE("Augmented images train the same model whatever the number of workers") {
  const TemporaryFolder folder;
  const std::vector<std::string> changes{"--x-flip", "--augment-probability", "0.5"};
  const auto one = trained(SmallRun::get().data, folder / "a", changes);
  CHECK(one == trained(SmallRun::get().data, folder / "b", joined(changes, {"--workers", "3"})));
  CHECK(one != trained(SmallRun::get().data, folder / "c", {"--x-flip"}));
  CHECK(metadata_of(folder / "a/model.safetensors", "network_settings")["augment_dim"] == 9);
  CHECK(metadata_of(folder / "c/model.safetensors", "network_settings")["augment_dim"] == 0);
}

TEST_CASE("Images are brought to a deviation of 1, or theirs is measured, and the model says so") {
  const TemporaryFolder folder;
  const auto& data = SmallRun::get().data;
  trained(data, folder / "measured", {"--image-scaling", "measured"});
  trained(data, folder / "normalized", {"--image-scaling", "normalized"});
  const auto sigma_data = [&](const std::string& run) {
    return metadata_of(folder / (run + "/model.safetensors"), "denoiser_settings")["formulation"]["sigma_data"]
        .get<double>();
  };
  const auto normalization = [&](const std::string& run) {
    return metadata_of(folder / (run + "/model.safetensors"), "patchdiff_program")["normalization"];
  };
  // The images and the black around them.
  const ArrayDataset images = small_images();
  double sum = 0, squares = 0;
  std::vector<float> image(28 * 28);
  for (std::int64_t index = 0; index < images.size(); ++index) {
    images.read(index, image);
    for (const float value : image) sum += value, squares += value * value;
  }
  const double frame = 120.0 * (32 * 32 - 28 * 28), count = 120.0 * 32 * 32;
  const double mean = (sum - frame) / count, deviation = std::sqrt((squares + frame) / count - mean * mean);
  CHECK(sigma_data("measured") == Approx(deviation).epsilon(1e-5));
  CHECK(normalization("measured")["mean"].empty());
  CHECK(sigma_data("normalized") == 1);
  CHECK(normalization("normalized")["mean"][0].get<double>() == Approx(mean).epsilon(1e-5));
  CHECK(normalization("normalized")["deviation"][0].get<double>() == Approx(deviation).epsilon(1e-5));
  CHECK_THAT(bytes_of(folder / "measured/run.toml"),
             ContainsSubstring("image_scaling = 'measured'") && !ContainsSubstring("sigma_data"));
}

TEST_CASE("Pictures that cannot be read stop a run, or are left out and named") {
  const TemporaryFolder folder;
  const fs::path pictures = write_pictures(folder);
  const fs::path broken = pictures / "0007.png";
  fs::resize_file(broken, 60);
  const Finished stopped = run_patchdiff(train(pictures, folder / "out", {"--images", "200"}));
  CHECK(stopped.code == 1);
  CHECK_THAT(stopped.err, ContainsSubstring(broken.string() + ": expected "));
  const Finished left_out = run_patchdiff(train(pictures, folder / "out2", {"--unreadable", "skip"}));
  CHECK(left_out.code == 0);
  CHECK_THAT(left_out.err, ContainsSubstring("patchdiff: left out: ") && ContainsSubstring(broken.string()));
  CHECK_THAT(metadata_of(folder / "out2/model.safetensors", "patchdiff_program")["data"].get<std::string>(),
             ContainsSubstring("119 images of 1x28x28 in 3 classes"));

  // What was trained so is judged so, and its features are learned so.
  const std::string told = "patchdiff: left out: ";
  const std::vector<std::string> judge{"evaluate", "--data",    pictures,
                                       "--test",   pictures,    "--images",
                                       pictures,   "--model",   folder / "out2/model.safetensors",
                                       "--count",  "4",         "--steps",
                                       "1",        "--threads", "1"};
  CHECK_THAT(refusal(judge), ContainsSubstring("--data: expected the images that the model was trained on, 119 "));
  const Finished judged = run_patchdiff(joined(judge, {"--unreadable", "skip"}));
  CHECK(judged.code == 0);
  int sources = 0;
  for (std::size_t at = 0; (at = judged.err.find(told, at)) != std::string::npos; ++at) ++sources;
  CHECK(sources == 3);
  const Finished learned = run_patchdiff({"features", "--data", pictures, "--out", folder / "features", "--epochs", "1",
                                          "--threads", "1", "--unreadable", "skip"});
  CHECK(learned.code == 0);
  CHECK(learned.err.starts_with(told));
}

TEST_CASE("A data set that was changed in one file is another") {
  const TemporaryFolder folder;
  const fs::path pictures = write_pictures(folder);
  trained(pictures, folder / "out");
  const fs::path model = folder / "out/model.safetensors";
  const auto refusal = [&] {
    return run_patchdiff({"train", "--data", pictures, "--out", folder / "next", "--from", model, "--images", "8"}).err;
  };
  fs::rename(pictures / "0003.png", folder / "kept.png");
  fs::copy_file(pictures / "0004.png", pictures / "0003.png");
  CHECK_THAT(refusal(), ContainsSubstring("train: --data: expected the images that the model was trained on, 120 "));
  fs::rename(folder / "kept.png", pictures / "0003.png");
  CHECK(refusal() == "");
}

TEST_CASE("A step that is left out does not count in the loss that is shown") {
  const TemporaryFolder folder;
  std::string file = npy_header("<f4", "(20, 8, 8)");
  for (int image = 0; image < 20; ++image) {
    const std::vector<float> pixels(8 * 8, image == 7 ? 1e30F : 0.05F * static_cast<float>(image));
    file.append(reinterpret_cast<const char*>(pixels.data()), pixels.size() * sizeof(float));
  }
  const Finished finished =
      run_patchdiff(train(folder.add("images.npy", file), folder / "out", {"--skip-non-finite", "--json-lines"}));
  CHECK(finished.err == "");
  REQUIRE(finished.code == 0);
  std::istringstream lines(folder.read("out/log.jsonl"));
  nlohmann::json last;
  for (std::string line; std::getline(lines, line);) last = nlohmann::json::parse(line);
  CHECK(last["skipped"] >= 1);
  const std::size_t shown = finished.out.rfind("  loss ");
  REQUIRE(shown != std::string::npos);
  CHECK(std::isfinite(std::stod(finished.out.substr(shown + 7))));
}
