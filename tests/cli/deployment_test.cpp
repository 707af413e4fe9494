// SPDX-License-Identifier: Apache-2.0
// Programs without LibTorch, on a model that `patchdiff train` wrote.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/data/mapped_array.hpp>
#include <patchdiff/data/npy_layout.hpp>

#include "cli/run_patchdiff.hpp"
#include "cli/small_run.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/files.hpp"
#include "support/png_size.hpp"
#include "support/temporary_folder.hpp"

namespace {

Finished run_sampler(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), PATCHDIFF_EIGEN_SAMPLER);
  return ChildProcess(std::move(arguments)).wait();
}

/// The values of an NPY file, image by image.
std::vector<float> array_of(const std::filesystem::path& path) {
  const patchdiff::MappedArray array(path, patchdiff::read_npy_layout(path));
  const auto image = static_cast<std::size_t>(value_count(array.shape()));
  std::vector<float> values(static_cast<std::size_t>(array.size()) * image);
  for (std::int64_t index = 0; index < array.size(); ++index) {
    array.read(index, std::span(values).subspan(static_cast<std::size_t>(index) * image, image));
  }
  return values;
}

/// The largest difference of two arrays of one size.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  REQUIRE(!a.empty());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double{a[i]} - double{b[i]}));
  return largest;
}

}  // namespace

TEST_CASE("the sampler without LibTorch draws what patchdiff sample draws") {
  const TemporaryFolder folder;
  const std::string model = SmallRun::get().model;
  using Arguments = std::vector<std::string>;
  for (const auto& [images, pixels, more] :
       {std::tuple<int, int, Arguments>{24, 32 * 32, {"--steps", "6", "--guidance", "1"}},
        {4, 32 * 32, {"--steps", "4", "--class", "trousers,0", "--count", "2", "--seed", "5", "--solver", "dpmpp_2m"}},
        {3, 16 * 8, {"--steps", "6", "--count", "1", "--guidance", "3", "--window", "8,4,16,8"}},
        {3, 32 * 32, {"--steps", "6", "--count", "1", "--guidance", "2", "--tile", "16", "--overlap", "8"}},
        {1, 24 * 20, {"--steps", "4", "--count", "1", "--class", "1", "--window", "8,12,24,20", "--tile", "16"}}}) {
    CAPTURE(more);
    const auto drawn_by = [&](const std::string& name, const Finished& finished) {
      CHECK(finished.err == "");
      REQUIRE(finished.code == 0);
      return array_of(folder / name);
    };
    const auto files = [&](const std::string& name) {
      return Arguments{"--model", model, "--out", folder / (name + ".png"), "--npy", folder / name, "--threads", "1"};
    };
    const auto torch = drawn_by("torch", run_patchdiff(joined(joined({"sample"}, files("torch")), more)));
    const auto eigen = drawn_by("eigen", run_sampler(joined(files("eigen"), more)));
    CHECK(torch.size() == static_cast<std::size_t>(images * pixels));
    const double largest = distance(torch, eigen);
    CAPTURE(largest);
    CHECK(largest <= 1e-3);
    CHECK(png_size(folder / "torch.png") == png_size(folder / "eigen.png"));
  }
}

TEST_CASE("the sampler without LibTorch draws windows and fuses them") {
  const TemporaryFolder folder;
  const auto drawn = [&](const std::string& name, const std::vector<std::string>& more) {
    const Finished finished = run_sampler(joined(
        {"--model", SmallRun::get().model, "--npy", folder / name, "--steps", "2", "--count", "1", "--class", "1"},
        more));
    CHECK(finished.err == "");
    CHECK(finished.code == 0);
    return folder.read(name);
  };
  const std::string whole = drawn("whole", {});
  CHECK(whole == drawn("again", {"--threads", "1"}));
  CHECK(drawn("tiled", {"--tile", "32"}) == whole);  // one window is the image
  CHECK(drawn("fused", {"--tile", "16", "--overlap", "8"}).size() == whole.size());
  CHECK(drawn("window", {"--window", "8,4,16,8"}).size() < whole.size());
}

TEST_CASE("the sampler without LibTorch writes nothing where it refuses") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::vector<std::string>& more) {
    const Finished finished = run_sampler(joined({"--model", SmallRun::get().model, "--steps", "1"}, more));
    CHECK(finished.code == 1);
    CHECK(finished.out == "");
    CHECK(folder.count() == 0);
    return finished.err;
  };
  CHECK(refused({}) == "eigen_sampler: eigen_sampler: --out or --npy: expected a file to write, got none\n");
  CHECK_THAT(refused({"--out", folder / "a.png", "--class", "shirts"}),
             ContainsSubstring("expected a class of the model such as \"shirt\", got \"shirts\""));
  CHECK_THAT(refused({"--out", folder / "a.png", "--window", "0,0,64,64"}),
             ContainsSubstring("ODESampler: window: expected a window inside 32x32"));
  const std::filesystem::path changed = changed_model(folder, "patchdiff_program", "\"shirt\",", "");
  CHECK(run_sampler({"--model", changed, "--out", folder / "a.png"}).err ==
        "eigen_sampler: model_file: " + changed.string() + ": expected names of 3 classes, got 2\n");
  changed_model(folder, "network", "SongUNet", "DhariwalUNet");
  CHECK(run_sampler({"--model", changed, "--out", folder / "a.png"}).err ==
        "eigen_sampler: model_file: " + changed.string() + ": expected network \"SongUNet\", got \"DhariwalUNet\"\n");
  CHECK(folder.count() == 1);
  std::filesystem::remove(changed);
  CHECK(refused({"--npy", folder / "a.npy", "--window", "0,0,8,0"}) ==
        "eigen_sampler: sample: --window: expected top,left,height,width with sides of at least 1, got 0,0,8,0\n");
  CHECK(refused({"--npy", folder / "a.npy", "--overlap", "8"}) ==
        "eigen_sampler: sample: --overlap: expected 0 without --tile, got 8\n");
  // Images that no memory holds, and such as no picture shows.
  for (const std::string count : {"1000000000000", "9223372036854775807"}) {
    CHECK(refused({"--npy", folder / "a.npy", "--count", count}) ==
          "eigen_sampler: memory: expected enough for the model and its images, got none\n");
  }
  CHECK(refused({"--out", folder / "a.png", "--count", "20000"}) ==
        "eigen_sampler: sample: --count: expected a picture of at most 1000000 pixels a side and 65536 images in a "
        "row, got 296x1960002 with 20000 in a row\n");
  CHECK(refused({"--out", folder / "a", "--npy", folder / "b/../a"}) ==
        "eigen_sampler: eigen_sampler: --npy: expected another file than --out, got \"" + (folder / "b/../a").string() +
            "\"\n");
}

TEST_CASE("the sampler without LibTorch never writes over its model") {
  const TemporaryFolder folder;
  const std::filesystem::path model = folder / "model.safetensors";
  std::filesystem::copy_file(SmallRun::get().model, model);
  for (const std::string option : {"--out", "--npy"}) {
    CHECK(run_sampler({"--model", model, option, folder / "./model.safetensors", "--steps", "1", "--count", "1"}).err ==
          "eigen_sampler: eigen_sampler: " + option + ": expected another file than --model, got \"" +
              (folder / "./model.safetensors").string() + "\"\n");
  }
  CHECK(bytes_of(model) == bytes_of(SmallRun::get().model));
}

TEST_CASE("the sampler without LibTorch says where memory ends, and then writes nothing") {
  const TemporaryFolder folder;
  const auto limited = [](int mebibytes, const std::vector<std::string>& arguments) {
    return ChildProcess(joined({"/bin/sh", "-c", "ulimit -v $((1024 * $0)); exec \"$@\"", std::to_string(mebibytes),
                                PATCHDIFF_EIGEN_SAMPLER},
                               arguments))
        .wait();
  };
  int mebibytes = 1;
  while (limited(mebibytes, {"--help"}).code != 0) REQUIRE(++mebibytes < 1000);  // what the program itself takes
  int refused = 0;
  for (;; ++mebibytes) {
    REQUIRE(mebibytes < 1000);
    const Finished finished = limited(mebibytes, {"--model", SmallRun::get().model, "--npy", folder / "a.npy",
                                                  "--steps", "1", "--count", "100", "--threads", "1"});
    if (finished.code == 0) break;
    CAPTURE(mebibytes);
    CHECK(finished.code == 1);
    CHECK_THAT(finished.err, ContainsSubstring("memory: expected enough for the model and its images, got none\n") ||
                                 ContainsSubstring("expected a readable file, got \"Cannot allocate memory\"\n"));
    CHECK(folder.count() == 0);
    ++refused;
  }
  CHECK(refused > 0);
  CHECK(folder.count() == 1);
}

TEST_CASE("a program of another kind makes pictures on demand") {
  const TemporaryFolder folder;
  const std::string output = folder / "pictures", errors = folder / "errors";
  const std::string requests =
      folder.add("requests", "7 1\nnonsense\n7 1\n8\n7 9\n7 trousers\n7 1 junk\n-1\n\n7 1.5\n");
  const Finished finished =
      ChildProcess({"/bin/sh", "-c", "'" PATCHDIFF_EIGEN_PICTURES "' \"$0\" < \"$1\" > \"$2\" 2> \"$3\"",
                    SmallRun::get().model, requests, output, errors})
          .wait();
  CHECK(finished.code == 0);
  CHECK(folder.read("errors") ==
        "eigen_pictures: eigen_pictures: request: expected SEED [CLASS], got \"nonsense\"\n"
        "eigen_pictures: one_hot_labels: labels: expected values in [0, 3), got 9 at sample 0\n"
        "eigen_pictures: eigen_pictures: request: expected SEED [CLASS], got \"7 trousers\"\n"
        "eigen_pictures: eigen_pictures: request: expected SEED [CLASS], got \"7 1 junk\"\n"
        "eigen_pictures: eigen_pictures: request: expected SEED [CLASS], got \"-1\"\n"
        "eigen_pictures: eigen_pictures: request: expected SEED [CLASS], got \"\"\n"
        "eigen_pictures: eigen_pictures: request: expected SEED [CLASS], got \"7 1.5\"\n");
  const std::string header = "P5\n32 32\n255\n", pictures = folder.read("pictures");
  const std::size_t size = header.size() + 32 * 32;
  REQUIRE(pictures.size() == 3 * size);
  CHECK(pictures.substr(0, header.size()) == header);
  CHECK(pictures.substr(0, size) == pictures.substr(size, size));
  CHECK(pictures.substr(0, size) != pictures.substr(2 * size));
}
